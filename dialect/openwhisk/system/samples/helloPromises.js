function main(args) {
  return new Promise((resolve) => {
    setTimeout(() => {
      const text = `Hello, ${args.payload || args.name || 'stranger'} from ${args.place || 'somewhere'}!`
      resolve({ lines: text.split(' ') })
    }, 100)
  })
}
