def main(args):
    description = args["repository"]["description"]
    print(args["__ow_headers"]["x-github-event"], "in", args["repository"]["full_name"])
    return {"description": description}
