import os

from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name):
    return jsonify(message=f"Hello, {name}!")


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
