def main(args):
    field = args.pop("$fieldName", None)
    if not isinstance(field, str):
        return {"error": "Expected an argument '$fieldName' of type 'string'."}
    return {field: args}
