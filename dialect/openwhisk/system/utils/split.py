import re


def main(args):
    payload, separator = str(args.get("payload", "")), args.get("separator")
    try:
        lines = re.split(separator, payload) if separator else payload.splitlines()
    except re.error:  # it is a text, not an expression
        lines = payload.split(separator)
    return {"lines": lines, "payload": payload}
