package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"runtime/debug"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/auth"
	"github.com/rouse-run/rouse/node"
)

// leastMemory is what a single instance needs.
const leastMemory = 64 << 20

func upCommand(a *app) *cobra.Command {
	var (
		c       node.Config
		memory  string
		keep    string
		verbose bool
	)
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the platform on this machine",
		Long: `Start the platform, with all it needs, in this process.

It listens on 127.0.0.1 until told otherwise, and keeps everything in one data
folder: functions, records, and the token that its API asks for, which is made
at the first start. Stop it with Ctrl-C; what runs then may finish.`,
		Example: `  rouse up
  rouse up --data ./data --listen 127.0.0.1:9000
  rouse up --memory 4GB --idle 1m`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.enterScope()
			if err != nil {
				return err
			}
			if c.Data, err = a.dataDir(); err != nil {
				return err
			}
			if c.Memory, err = sizeFlag(cmd, "memory", memory); err != nil {
				return err
			}
			if c.KeepSize, err = sizeFlag(cmd, "keep-size", keep); err != nil {
				return err
			}
			for flag, n := range map[string]int64{"idle": int64(c.Idle), "spares": int64(c.Spares), "keep": int64(c.KeepFor), "keep-events": int64(c.KeepEvents)} {
				if n < 0 {
					return usage(cmd, "--%s must not be negative", flag)
				}
			}
			if c.Memory != 0 && c.Memory < leastMemory {
				return usage(cmd, "--memory %s is too little: it must be at least %s", memory, units.BytesSize(leastMemory))
			}
			for flag, at := range map[string]string{"url": c.URL, "github-api": c.GitHub} {
				if u, err := url.Parse(at); at != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "") {
					return usage(cmd, "--%s %q is not a URL such as https://rouse.example.com", flag, at)
				}
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			tune(a.env)
			c.Version = version()
			c.Log = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
			began := time.Now()
			n, err := node.New(cmd.Context(), c)
			if err != nil {
				return err
			}
			a.greet(n, time.Since(began))
			return n.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Listen, "listen", "", "`address` to listen on (default "+node.DefaultListen+")")
	f.StringVar(&c.URL, "url", "", "`URL` at which others reach this server, such as https://rouse.example.com: services that are to call it are told (default http and the address)")
	f.StringVar(&c.GitHub, "github-api", "", "`URL` of the API of your own GitHub, at which webhooks are made (default https://api.github.com)")
	f.StringVar(&c.Store, "store", "", "`URL` of a PostgreSQL database, such as postgres://user:password@host/rouse, to keep what the platform remembers (default files in the data folder)")
	f.StringVar(&c.Blobs, "blobs", "", "`URL` of an S3 bucket for code and objects, such as s3://bucket/prefix?endpoint=https://host; credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (default files in the data folder)")
	f.StringVar(&c.Isolation, "isolation", "", "isolation `tier`: namespaces or landlock, which is weaker; refused where this machine does not give it (default the stronger one that works here)")
	f.StringVar(&memory, "memory", "", "`bytes` that all instances may hold, such as 4GB (default three quarters of the machine's)")
	durationVar(f, &c.Idle, "idle", 10*time.Minute, "close an instance that was not used for this `time`")
	f.IntVar(&c.Spares, "spares", 2, "sandboxes kept ready of each kind in use")
	durationVar(f, &c.KeepFor, "keep", 30*24*time.Hour, "keep records and logs for this `time`")
	durationVar(f, &c.KeepEvents, "keep-events", 7*24*time.Hour, "keep events that triggers made, to be looked up and replayed, for this `time`")
	f.StringVar(&keep, "keep-size", "", "keep at most so many `bytes` of records and logs (default 10GB)")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	return cmd
}

// sizeFlag reads a size such as 256MB; "" is 0.
func sizeFlag(cmd *cobra.Command, flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(s)
	if err != nil || n <= 0 {
		return 0, usage(cmd, "--%s %q is not a size such as 256MB", flag, s)
	}
	return n, nil
}

// greet says where the platform is and what to try.
func (a *app) greet(n *node.Node, took time.Duration) {
	d := n.Describe()
	names := ""
	for _, rt := range d.Runtimes {
		names += " " + rt.Name
	}
	fmt.Fprintf(a.out, `Rouse %s is up (%d ms).

  API        http://%s/v1
  isolation  %s
  runtimes  %s
  data       %s (token in %s)

Try, in another terminal:
%[9]s
  %[8]s init hello --template python && %[8]s deploy hello && %[8]s invoke hello -d '{"name":"ada"}'

`, d.Version, took.Milliseconds(), n.Addr(), d.Isolation, names, n.Data, auth.Path(n.Data), self(), a.elsewhere(n))
	if f, ok := a.out.(*os.File); ok {
		_ = f.Sync() // who waits for the greeting in a file
	}
}

// elsewhere is what another terminal must be told to find a server that is not
// where it is looked for.
func (a *app) elsewhere(n *node.Node) string {
	var set string
	if n.Addr() != node.DefaultListen {
		set += " ROUSE_SERVER=" + quoted(n.Addr())
	}
	usual := app{env: func(name string) string {
		if name == "ROUSE_DATA" {
			return "" // the other terminal need not have it
		}
		return a.env(name)
	}}
	if dir, err := usual.dataDir(); err != nil || dir != n.Data {
		set += " ROUSE_DATA=" + quoted(n.Data)
	}
	if set == "" {
		return ""
	}
	return "\n  export" + set
}

// tune has garbage collected less often than is usual, for the heap is small beside
// the functions; but what many large records leave behind is not to fill what those
// leave of the machine, a quarter. Who sets the runtime's own variables knows better.
func tune(env func(string) string) {
	if env("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if env("GOMEMLIMIT") == "" {
		// Where that is little, it must still be room enough not to collect all the time.
		debug.SetMemoryLimit(max(node.MachineMemory()/8, 256<<20))
	}
}
