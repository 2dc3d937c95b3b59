def main(event):
    push = event['data']
    print(push['repository']['full_name'], 'got', len(push['commits']), 'commits')
