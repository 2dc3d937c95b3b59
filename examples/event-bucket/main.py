import rouse


def main(event):
    key = event['subject']
    print(key, 'has', len(rouse.bucket('photos').get(key).split()), 'words')
