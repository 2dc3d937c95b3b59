def main(event):
    return "you asked for " + event["path"] + "\n"
