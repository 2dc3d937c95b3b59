def main(args):
    lines = args.get("lines") or []
    print("before:", lines)
    lines = sorted(lines, key=str)
    print("after:", lines)
    return {"lines": lines, "length": len(lines)}
