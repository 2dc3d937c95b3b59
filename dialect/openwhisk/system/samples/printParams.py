import json


def main(args):
    params = dict(sorted(args.items()))
    print("params:", json.dumps(params))
    return {"params": params}
