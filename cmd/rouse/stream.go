package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func streamCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "stream",
		Short: "Make streams, put records into them and watch what comes",
		Long: `A stream is an ordered log of records that are kept for a time. Records with the
same key stay in order; a stream with more shards takes more at once.`,
		Example: `  rouse stream create clicks --shards 4
  rouse stream put clicks -k ada '{"page":"/"}'
  rouse stream tail clicks`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(streamCreate(a), streamPut(a), streamTail(a), streamScale(a), streamList(a), streamRemove(a))
	return c
}

func streamCreate(a *app) *cobra.Command {
	var o wire.StreamOptions
	var keep time.Duration
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a stream, or change one",
		Long: `Make a stream, or change the one of that name. One that is there keeps its shards
unless --shards is given.`,
		Example: `  rouse stream create clicks
  rouse stream create clicks --shards 4 --keep 48h`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeStreams(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			o.Keep = rouse.Duration(keep)
			s, err := cl.SetStream(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			return a.printStream(s)
		},
	}
	c.Flags().IntVar(&o.Shards, "shards", 0, "how many `shards` (default 1, or as many as there are)")
	durationVar(c.Flags(), &keep, "keep", 24*time.Hour, "how long records stay")
	return c
}

func (a *app) printStream(s data.Stream) error {
	if a.json {
		return a.printJSON(s)
	}
	fmt.Fprintf(a.out, "stream %s has %s and keeps records for %v\n", s.Name, plural(s.Shards, "shard"), s.Keep)
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func streamScale(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "scale NAME SHARDS",
		Short: "Divide a stream into so many shards",
		Long: `Divide a stream into so many shards of one size. Records that are there stay where
they are, and are read before those that come after them.`,
		Example:           `  rouse stream scale clicks 8`,
		Args:              exactly("NAME", "SHARDS"),
		ValidArgsFunction: a.completeStreams(),
		RunE: func(c *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 {
				return usage(c, "SHARDS is %q; it must be a number from 1", args[1])
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			s, err := cl.ScaleStream(c.Context(), args[0], n)
			if err != nil {
				return err
			}
			return a.printStream(s)
		},
	}
}

func streamList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List streams",
		Example: `  rouse stream ls
  rouse stream ls --json | jq -r '.streams[].name'`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			all, err := allStreams(c.Context(), cl)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Streams{Streams: all})
			}
			rows := [][]string{{"NAME", "SHARDS", "KEEPS", "CREATED"}}
			for _, s := range all {
				rows = append(rows, []string{s.Name, strconv.Itoa(s.Shards), s.Keep.String(), ago(s.Created)})
			}
			return a.table(rows)
		},
	}
}

func streamRemove(a *app) *cobra.Command {
	return a.remover("stream", "a stream with its records", "with its records", a.completeStreams(), (*client.Client).RemoveStream)
}

// putAtOnce is how many lines are appended together.
const putAtOnce = 500

func streamPut(a *app) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use:   "put NAME [DATA ... | -]",
		Short: "Append records to a stream",
		Long: `Append records to a stream: each DATA is one, JSON or text, or what is in the file
after an @. With - each line of standard input is one. Records with the same key
stay in order.`,
		Example: `  rouse stream put clicks -k ada '{"page":"/"}'
  rouse stream put clicks one two three
  rouse stream put pictures @cat.jpg
  rouse stream put clicks - < clicks.ndjson`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(c, "%s is missing", []string{"NAME", "DATA"}[len(args)])
			}
			return nil
		},
		ValidArgsFunction: a.completeStreams(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			put := func(rs []data.Record) error {
				at, err := cl.Append(c.Context(), args[0], rs...)
				if err != nil {
					return err
				}
				return a.printPositions(at)
			}
			if len(args) == 2 && args[1] == "-" {
				return a.putLines(c, key, put)
			}
			var rs []data.Record
			for _, s := range args[1:] {
				b, err := a.given(c.Context(), s)
				if err != nil {
					return err
				}
				rs = append(rs, data.Record{Key: key, Data: b})
			}
			return put(rs)
		},
	}
	c.Flags().StringVarP(&key, "key", "k", "", "the records' partition `key`")
	return c
}

// putLines appends lines as they come.
func (a *app) putLines(c *cobra.Command, key string, put func([]data.Record) error) error {
	in := bufio.NewReaderSize(a.in, 64<<10)
	for ended := false; !ended; {
		var rs []data.Record
		for len(rs) < putAtOnce {
			line, err := read(c.Context(), func() ([]byte, error) { return in.ReadBytes('\n') })
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
				rs = append(rs, data.Record{Key: key, Data: line})
			}
			if ended = err != nil; ended || in.Buffered() == 0 {
				break // whoever types, or tails a file, waits for what was said so far
			}
		}
		if len(rs) == 0 {
			continue
		}
		if err := put(rs); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printPositions(at []data.Position) error {
	for _, p := range at {
		if a.json {
			if err := json.NewEncoder(a.out).Encode(p); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(a.out, "%s/%d\n", p.Shard, p.Sequence)
	}
	return nil
}

func streamTail(a *app) *cobra.Command {
	var q client.RecordQuery
	var since, from string
	var follow bool
	c := &cobra.Command{
		Use:   "tail NAME",
		Short: "Watch the records of a stream as they come",
		Long: `Watch the records of a stream as they come, of all shards or of one. It begins
with what comes from now on, or as --from or --since say. With --json each record
is an object on a line, with its shard, number, key and time.`,
		Example: `  rouse stream tail clicks
  rouse stream tail clicks --since 1h
  rouse stream tail clicks --from oldest --follow=false
  rouse stream tail clicks --from oldest --limit 10 --json`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeStreams(),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if q.Since, err = moment(since); err != nil {
				return err
			}
			switch {
			case from == "newest" || from == "" && since == "" && follow:
				q.Newest = true
			case from != "" && from != "oldest":
				return usage(c, "--from is %q; it must be oldest or newest", from)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if !follow {
				return a.readOnce(c, cl, args[0], q)
			}
			var failed error
			err = cl.FollowRecords(c.Context(), args[0], q, func(r wire.StreamRecord) bool {
				failed = a.printRecord(&r)
				return failed == nil
			})
			return cmp.Or(err, failed)
		},
	}
	f := c.Flags()
	f.StringVar(&since, "since", "", "begin at this `time`, or as long ago as 1h")
	f.StringVar(&from, "from", "", "begin at the `end`: oldest or newest")
	f.StringVar(&q.Shard, "shard", "", "only this `shard`")
	f.IntVar(&q.Limit, "limit", 0, "end after so many `records`")
	f.BoolVarP(&follow, "follow", "f", true, "go on with new ones")
	c.MarkFlagsMutuallyExclusive("since", "from")
	return c
}

// readOnce prints what is there, shard by shard.
func (a *app) readOnce(c *cobra.Command, cl *client.Client, name string, q client.RecordQuery) error {
	left := q.Limit
	shards, err := cl.Shards(c.Context(), name)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if q.Shard != "" && s.ID != q.Shard {
			continue
		}
		for at := (client.RecordQuery{Shard: s.ID, Since: q.Since, Newest: q.Newest}); ; {
			at.Limit = left
			page, err := cl.Records(c.Context(), name, at)
			if err != nil {
				return err
			}
			for i := range page.Records {
				if err := a.printRecord(&page.Records[i]); err != nil {
					return err
				}
				if left--; left == 0 {
					return nil
				}
			}
			left = max(left, 0)
			if len(page.Records) == 0 {
				break
			}
			at = client.RecordQuery{Shard: s.ID, After: page.Shards[0].After}
		}
	}
	return nil
}

func (a *app) printRecord(r *wire.StreamRecord) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(r)
	}
	b, err := r.Bytes()
	if err != nil {
		return err
	}
	head := fmt.Sprintf("%s %s/%d", r.Time.Local().Format("2006-01-02 15:04:05.000"), r.Shard, r.Sequence)
	if r.Key != "" {
		head += " " + r.Key
	}
	_, err = fmt.Fprintln(a.out, a.paint(a.out, faint, head), show(b))
	return err
}
