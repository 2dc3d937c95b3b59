def main(event):
    change = event['data']
    print(change['key']['owner'], 'had', change['old']['euros'], 'and has', change['new']['euros'])
