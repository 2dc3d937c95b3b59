def main(event):
    name = event.get("name", "world")
    print("greeting", name)  # goes to the log
    return {"message": f"Hello, {name}!"}
