def main(event):
    if event["method"] == "POST":
        return {"status": 201, "body": "ordered " + event["body"]}
    # event["path"] is what is below /shop.
    return "no %s left\n" % event["headers"]["rouse-path-item"]
