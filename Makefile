# Two commands matter: make up, make test.
SHELL := /bin/bash
GO ?= go

.PHONY: help up build test bench soak needs-up needs-test needs-soak clean

help:
	@echo "make up     build Rouse, install what it needs, start it on 127.0.0.1:8700"
	@echo "make test   run every test, installing what they need"
	@echo "make bench  measure, beside the limits of this machine"
	@echo "make soak   the long tests: other hosts, fuzzing, a million invocations"
	@echo "make build  build bin/rouse"

up: needs-up build
	@./bin/rouse up $(ARGS)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/rouse ./cmd/rouse

needs-up:
	@scripts/needs up

needs-test:
	@scripts/needs test

test: needs-test build
	scripts/test

bench: needs-test build
	$(GO) run ./bench $(ARGS)

needs-soak:
	@scripts/needs soak

soak: needs-test needs-soak build
	scripts/soak

clean:
	rm -rf bin
