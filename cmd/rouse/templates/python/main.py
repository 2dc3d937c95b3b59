def main(event, context):
    name = (event or {}).get("name", "world")
    print(f"greeting {name}")  # goes to the log: rouse logs hello
    return {"message": f"Hello, {name}!"}
