def main(event):
    print('it is time:', event['type'])
