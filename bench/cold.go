package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// coldStarts is how many functions one round starts cold, in turn with as many
// of the limit's.
const coldStarts = 15

// coldGroup measures from the request to the first answer of an instance that
// was not there. All functions of one kind have the same code, each is called
// once, and is gone before the next round. Between two there is a pause, as
// between cold starts in life: what the platform then makes ahead is part of
// neither.
func coldGroup() group {
	isolated := "a child of a bare zygote that isolates itself in the same way"
	return group{name: "cold", measurements: []measurement{
		{name: "python3", unit: "ms", limit: isolated, goal: goal{ratioMost, 1.5}, open: func(ctx context.Context, e *env) (round, error) {
			return e.coldPython(ctx, "cold-python", hello["python3"])
		}},
		{name: "python3 with numpy", unit: "ms", limit: isolated + ", with numpy imported", goal: goal{ratioMost, 1.5}, open: func(ctx context.Context, e *env) (round, error) {
			return e.coldPython(ctx, "cold-numpy", files{
				"main.py":          "import numpy\n\n" + hello["python3"]["main.py"],
				"requirements.txt": "numpy\n",
			}, "numpy")
		}},
		{name: "nodejs", unit: "ms", limit: "a plain node process that waits, without isolation, to be told its module", goal: goal{most, 5}, open: coldNode},
		{name: "wasm", unit: "ms", limit: "the warm path of the same module", goal: goal{beyondMost, 0.5}, open: coldModule},
		{name: "executable", unit: "ms", limit: "a bare exec in the same namespaces, from clone to exit", goal: goal{ratioMost, 1.5}, open: coldProgram},
	}}
}

// cold measures functions made of code, each called once, in turn with limit.
func (e *env) cold(ctx context.Context, name string, code files, o wire.Options, limit func() (time.Duration, error)) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	zip, err := code.pack(e.bench)
	if err != nil {
		return nil, err
	}
	sample := func(ctx context.Context) (float64, float64, error) {
		names := make([]string, coldStarts)
		for i := range names {
			names[i] = fmt.Sprintf("%s-%d", name, i)
			if _, err := p.Deploy(ctx, names[i], o, strings.NewReader(string(zip)), nil); err != nil {
				return 0, 0, err
			}
		}
		var ours, limits []time.Duration
		for _, n := range names {
			time.Sleep(e.settle)
			took, err := p.invoke(n, payload).wants(answer).first(ctx)
			if err != nil {
				return 0, 0, fmt.Errorf("call %s: %w", n, err)
			}
			ours = append(ours, took)
			time.Sleep(e.settle)
			if took, err = limit(); err != nil {
				return 0, 0, err
			}
			limits = append(limits, took)
		}
		for _, n := range names {
			if err := p.Remove(ctx, n); err != nil {
				return 0, 0, err
			}
		}
		return ms(median(ours)), ms(median(limits)), nil
	}
	_, _, err = sample(ctx) // what is done once is done
	return sample, err
}

func (e *env) coldPython(ctx context.Context, name string, code files, more ...string) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	rt, err := p.runtime(ctx, "python3")
	if err != nil {
		return nil, err
	}
	deps := ""
	if len(more) > 0 {
		e.say("cold: installing %s", strings.Join(more, " "))
		if err := p.deploy(ctx, e.bench, name, code, wire.Options{Runtime: "python3"}); err != nil {
			return nil, absent{fmt.Sprintf("%s can't be installed here (%v)", strings.Join(more, " "), err)}
		}
		f, err := p.Function(ctx, name, "")
		if err != nil {
			return nil, err
		}
		deps = filepath.Join(p.data, "deps", string(f.Deps))
	}
	folder, err := code.folder(e.bench)
	if err != nil {
		return nil, err
	}
	z, err := e.zygote(rt, deps, more...)
	if err != nil {
		return nil, err
	}
	e.onClose(z.close)
	return e.cold(ctx, name, code, wire.Options{Runtime: "python3"}, func() (time.Duration, error) {
		began := time.Now()
		child, err := z.fork(folder)
		if err != nil {
			return 0, err
		}
		err = child.expect(answer)
		return time.Since(began), errors.Join(err, child.close())
	})
}

// expect asks with the payload and wants that answer.
func (p *pipes) expect(answer string) error {
	got, err := p.ask([]byte(payload))
	if err == nil && string(got) != answer {
		err = fmt.Errorf("the limit answered %q, not %q", got, answer)
	}
	return err
}

func coldNode(ctx context.Context, e *env) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	rt, err := p.runtime(ctx, "nodejs")
	if err != nil {
		return nil, err
	}
	folder, err := hello["nodejs"].folder(e.bench)
	if err != nil {
		return nil, err
	}
	return e.cold(ctx, "cold-node", hello["nodejs"], wire.Options{Runtime: "nodejs"}, func() (time.Duration, error) {
		w, err := e.parkedNode(rt)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		err = w.become(folder)
		return time.Since(began), errors.Join(err, w.close())
	})
}

// parkedNode starts a plain node process and returns once it waits.
func (b *bench) parkedNode(rt rouse.Runtime) (*worker, error) {
	scripts, err := b.unpackBare()
	if err != nil {
		return nil, err
	}
	w, err := startWorker(rt.Path, scripts+"/worker.cjs")
	if err == nil {
		_, err = w.read()
	}
	return w, err
}

// become makes a parked node process the function in folder and asks it once.
func (w *worker) become(folder string) error {
	// Both frames at once, as the platform could: the first has no answer.
	name := fmt.Appendf(nil, "%q", folder+"/index.js")
	frame := append([]byte{byte(len(name)), byte(len(name) >> 8), 0, 0}, name...)
	if _, err := w.to.Write(frame); err != nil {
		return err
	}
	return w.expect(answer)
}

func coldModule(ctx context.Context, e *env) (round, error) {
	p, err := e.platform(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.deploy(ctx, e.bench, "warm-wasm", tiny(), wire.Options{}); err != nil {
		return nil, err
	}
	warm := p.invoke("warm-wasm", payload).wants(answer)
	return e.cold(ctx, "cold-wasm", tiny(), wire.Options{}, func() (time.Duration, error) { return warm.first(ctx) })
}

// program is an executable that answers and ends.
const program = `package main

import "os"

func main() { os.Stdout.WriteString(` + "`" + answer + "`" + `) }
`

func coldProgram(ctx context.Context, e *env) (round, error) {
	source, err := files{"main.go": program, "go.mod": "module program\n"}.folder(e.bench)
	if err != nil {
		return nil, err
	}
	// Built where its module is, and outside of any workspace.
	if err := goBuildIn(ctx, source, filepath.Join(source, "main"), "."); err != nil {
		return nil, err
	}
	built, err := os.ReadFile(filepath.Join(source, "main"))
	if err != nil {
		return nil, err
	}
	code := files{"main": string(built)}
	folder, err := code.folder(e.bench)
	if err != nil {
		return nil, err
	}
	return e.cold(ctx, "cold-program", code, wire.Options{Runtime: "executable", Contract: "stdio"}, func() (time.Duration, error) {
		took, said, err := e.execIn(folder, payload)
		if err == nil && said != answer {
			err = fmt.Errorf("the limit answered %q", said)
		}
		return took, err
	})
}
