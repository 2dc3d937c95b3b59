import time


def main(event):
    for n in range(3, 0, -1):
        yield f"{n}\n"
        time.sleep(0.2)
    yield "lift-off\n"
