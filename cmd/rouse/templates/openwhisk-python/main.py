def main(args):
    name = args.get("name", "world")
    print(f"greeting {name}")  # goes to the log: wsk activation logs --last
    return {"message": f"Hello, {name}!"}
