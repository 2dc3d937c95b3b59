def main(events):
    for event in events:
        print(event['subject'], 'clicked', event['data']['button'])
