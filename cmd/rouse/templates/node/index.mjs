export async function main(event, context) {
  const name = event?.name ?? "world";
  console.log(`greeting ${name}`); // goes to the log: rouse logs hello
  return { message: `Hello, ${name}!` };
}
