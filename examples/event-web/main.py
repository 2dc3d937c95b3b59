def main(event):
    request = event['data']
    print(request['values']['customer'], 'orders', request['body']['what'])
