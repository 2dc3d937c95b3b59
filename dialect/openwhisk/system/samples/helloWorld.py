def main(args):
    print(f"hello {args.get('payload') or args.get('name') or 'stranger'}!")
    return {}
