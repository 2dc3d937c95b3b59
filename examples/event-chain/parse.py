def main(event):
    return int(event['data']['body'])
