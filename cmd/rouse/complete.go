package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// pageSize is how many of a list are fetched at once.
const pageSize = 1000

// pages fetches all pages of a list.
func pages[T any](page func(after string) (items []T, next string, err error)) ([]T, error) {
	all := []T{}
	for after := ""; ; {
		items, next, err := page(after)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if after = next; after == "" {
			return all, nil
		}
	}
}

func allStreams(ctx context.Context, cl *client.Client) ([]data.Stream, error) {
	return pages(func(after string) ([]data.Stream, string, error) {
		p, err := cl.Streams(ctx, after, pageSize)
		return p.Streams, p.Next, err
	})
}

func allQueues(ctx context.Context, cl *client.Client) ([]wire.Queue, error) {
	return pages(func(after string) ([]wire.Queue, string, error) {
		p, err := cl.Queues(ctx, after, pageSize)
		return p.Queues, p.Next, err
	})
}

func allTables(ctx context.Context, cl *client.Client) ([]data.Table, error) {
	return pages(func(after string) ([]data.Table, string, error) {
		p, err := cl.Tables(ctx, after, pageSize)
		return p.Tables, p.Next, err
	})
}

func allBuckets(ctx context.Context, cl *client.Client) ([]data.Bucket, error) {
	return pages(func(after string) ([]data.Bucket, string, error) {
		p, err := cl.Buckets(ctx, after, pageSize)
		return p.Buckets, p.Next, err
	})
}

func allTriggers(ctx context.Context, cl *client.Client) ([]wire.Trigger, error) {
	return pages(func(after string) ([]wire.Trigger, string, error) {
		p, err := cl.Triggers(ctx, after, pageSize)
		return p.Triggers, p.Next, err
	})
}

func allRules(ctx context.Context, cl *client.Client) ([]wire.Rule, error) {
	return pages(func(after string) ([]wire.Rule, string, error) {
		p, err := cl.Rules(ctx, after, pageSize, false)
		return p.Rules, p.Next, err
	})
}

// completion is what a shell asks for the names that may stand at an argument.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeFrom gives a shell the names of what list returns, for the first
// argument.
func completeFrom[T any](a *app, list func(context.Context, *client.Client) ([]T, error), name func(T) string) completion {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, no
		}
		return beginning(prefix, namesOf(c, a, list, name)), no
	}
}

// namesOf returns names while a person waits with a finger on the key: none
// where that takes too long, or fails.
func namesOf[T any](c *cobra.Command, a *app, list func(context.Context, *client.Client) ([]T, error), name func(T) string) []string {
	cl, err := a.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	all, err := list(ctx, cl)
	if err != nil {
		return nil
	}
	names := make([]string, len(all))
	for i, x := range all {
		names[i] = name(x)
	}
	return names
}

func beginning(prefix string, names []string) (some []string) {
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			some = append(some, n)
		}
	}
	return some
}

func (a *app) completeStreams() completion {
	return completeFrom(a, allStreams, func(x data.Stream) string { return x.Name })
}

func (a *app) completeQueues() completion {
	return completeFrom(a, allQueues, func(x wire.Queue) string { return x.Name })
}

func (a *app) completeTables() completion {
	return completeFrom(a, allTables, func(x data.Table) string { return x.Name })
}

func (a *app) completeTriggers() completion {
	return completeFrom(a, allTriggers, func(x wire.Trigger) string { return x.Name })
}

func (a *app) completeRules() completion {
	return completeFrom(a, allRules, func(x wire.Rule) string { return x.Name })
}
