def main(event):
    file = event['data']
    print(file['name'], 'has', file['size'], 'bytes')
