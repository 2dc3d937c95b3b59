def main(event):
    print(event['subject'], 'is at', event['data']['payload']['celsius'])
