from urllib.error import URLError
from urllib.request import Request, urlopen

MOST = 500_000  # bytes of an answer that are shown


def main(args):
    url = str(args.get("payload") or "")
    if not url:
        return {"error": "payload is missing: the host or URL to get"}
    if "://" not in url:
        url = "http://" + url
    if not url.lower().startswith(("http://", "https://")):
        return {"error": "payload is no URL of http or https"}
    print("getting", url)
    try:
        with urlopen(Request(url, headers={"User-Agent": "Rouse"}), timeout=10) as answer:
            return {"msg": answer.read(MOST).decode("utf-8", "replace")}
    except (URLError, OSError, ValueError) as error:
        return {"msg": str(error)}
