def main(number):
    print('stored', number)
