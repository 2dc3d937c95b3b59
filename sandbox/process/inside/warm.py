"""A function for nobody: see warm_up in worker.py."""


def main(event, context):
    return {'event': event, 'left': context.remaining_ms()}
