#!/bin/sh
# The payload is standard input, the answer standard output.
sort | uniq -c | sort -rn
