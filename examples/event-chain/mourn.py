def main(event):
    failure = event['data']['failure']
    print(failure['type'] + ': ' + failure['message'])
