def main(args):
    lines, num = args.get("lines") or [], int(args.get("num") or 1)
    return {"lines": lines[:num], "num": num}
