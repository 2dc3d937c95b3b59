def main(event):
    print(event['source'], 'says', event['data'])
