def main(event):
    job = event['data']
    if job['n'] == 0:
        raise ValueError('there is nothing to divide by')
    print('100 /', job['n'], '=', 100 // job['n'])
