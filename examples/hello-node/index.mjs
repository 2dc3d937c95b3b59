export async function main (event, context) {
  console.log(`version ${context.version} greets`) // goes to the log
  return { message: `Hello, ${event.name ?? 'world'}!` }
}
