from datetime import datetime, timezone


def main(args):
    now = datetime.now(timezone.utc)
    return {"date": now.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (now.microsecond // 1000)}
