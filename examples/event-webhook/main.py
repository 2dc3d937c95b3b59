def main(event):
    print('paid:', event['data']['euros'])
