package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func queueCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Make queues, send messages to them and receive them",
		Long: `A queue hands each message to one receiver at a time until it is deleted. What is
received and not deleted is handed out again once its visibility is over.`,
		Example: `  rouse queue create jobs --dead-letter jobs-dead --max-receives 5
  rouse queue send jobs '{"n":1}'
  rouse queue receive jobs --delete`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(queueCreate(a), queueSend(a), queueReceive(a), queuePeek(a), queueList(a), queuePurge(a), queueRedrive(a), queueRemove(a))
	return c
}

func queueCreate(a *app) *cobra.Command {
	var o wire.QueueOptions
	var visibility, delay, keep time.Duration
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a queue, or change one",
		Long: `Make a queue, or change the one of that name: what is not given gets its default.
Whether it is fifo can't be changed.`,
		Example: `  rouse queue create jobs
  rouse queue create jobs --visibility 2m --dead-letter jobs-dead --max-receives 5
  rouse queue create orders --fifo`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			v, k := rouse.Duration(visibility), rouse.Duration(keep)
			o.Visibility, o.Keep, o.Delay = &v, &k, rouse.Duration(delay)
			q, err := cl.SetQueue(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(q)
			}
			fmt.Fprintf(a.out, "queue %s is ready; send with: rouse queue send %s DATA\n", q.Name, q.Name)
			return nil
		},
	}
	f := c.Flags()
	durationVar(f, &visibility, "visibility", 30*time.Second, "how long a received message is nobody else's")
	durationVar(f, &delay, "delay", 0, "how long before a sent message can be received")
	durationVar(f, &keep, "keep", 4*24*time.Hour, "how long a message stays; 0 is for ever")
	f.IntVar(&o.MaxReceives, "max-receives", 0, "after so many `times` a message goes to --dead-letter")
	f.StringVar(&o.DeadLetter, "dead-letter", "", "the `queue` for messages that were received too often")
	f.BoolVar(&o.Fifo, "fifo", false, "messages of one group come in order")
	f.BoolVar(&o.DedupByBody, "dedup-by-body", false, "a body that was sent within five minutes is not sent again")
	c.MarkFlagsRequiredTogether("max-receives", "dead-letter")
	return c
}

func queueSend(a *app) *cobra.Command {
	var m wire.Message
	var attributes []string
	var delay, ttl time.Duration
	c := &cobra.Command{
		Use:   "send NAME BODY ...",
		Short: "Send messages to a queue",
		Long: `Send messages to a queue: each BODY is one, JSON or text, or what is in the file
after an @. A single - is what comes in on standard input.`,
		Example: `  rouse queue send jobs '{"n":1}'
  rouse queue send jobs one two three --delay 1m
  rouse queue send orders @order.json --group ada --attribute shop=berlin
  date | rouse queue send jobs -`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usage(c, "%s is missing", []string{"NAME", "BODY"}[len(args)])
			}
			return nil
		},
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if m.Attributes, err = pairs(c, "--attribute", attributes); err != nil {
				return err
			}
			m.Delay, m.TTL = changed(c, "delay", delay), changed(c, "ttl", ttl)
			var ms []wire.Message
			for _, s := range args[1:] {
				b, err := a.given(c.Context(), s)
				if err != nil {
					return err
				}
				m.Body, m.BodyBase64 = wire.Content(b)
				ms = append(ms, m)
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			sent, err := cl.Send(c.Context(), args[0], ms...)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Sent{Messages: sent})
			}
			for _, s := range sent {
				text := ""
				if s.Duplicate {
					text = " was sent before"
				}
				fmt.Fprintf(a.out, "%d%s\n", s.ID, text)
			}
			return nil
		},
	}
	f := c.Flags()
	durationVar(f, &delay, "delay", 0, "how long before it can be received (default the queue's)")
	durationVar(f, &ttl, "ttl", 0, "how long it stays; 0 is for ever (default the queue's)")
	f.StringVar(&m.Group, "group", "", "its `group`, in a fifo queue")
	f.StringVar(&m.Dedup, "dedup", "", "an `id`; one that was sent within five minutes is not sent again")
	f.StringArrayVar(&attributes, "attribute", nil, "a `name=value` beside the body; may be given often")
	return c
}

// changed returns a flag's duration where it was given.
func changed(c *cobra.Command, flag string, d time.Duration) *rouse.Duration {
	if !c.Flags().Changed(flag) {
		return nil
	}
	v := rouse.Duration(d)
	return &v
}

func queueReceive(a *app) *cobra.Command {
	var in wire.Receive
	var wait, visibility time.Duration
	var remove bool
	c := &cobra.Command{
		Use:   "receive NAME",
		Short: "Receive messages from a queue",
		Long: `Receive messages from a queue. They come back once their visibility is over,
unless --delete takes them away when they have been printed.`,
		Example: `  rouse queue receive jobs
  rouse queue receive jobs --delete --max 10
  rouse queue receive jobs --wait 20s --json`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			in.Wait, in.Visibility = rouse.Duration(wait), changed(c, "visibility", visibility)
			ds, err := cl.Receive(c.Context(), args[0], in)
			if err != nil {
				return err
			}
			if err := a.printMessages(args[0], ds); err != nil || !remove || len(ds) == 0 {
				return err
			}
			return deleteAll(c, cl, args[0], ds)
		},
	}
	f := c.Flags()
	f.IntVar(&in.Max, "max", 1, "at most so many `messages`, 1 to 1000")
	durationVar(f, &wait, "wait", 0, "how long to wait for a first one, up to 1m")
	durationVar(f, &visibility, "visibility", 0, "how long they are nobody else's (default the queue's)")
	f.BoolVar(&remove, "delete", false, "delete what was printed")
	return c
}

func deleteAll(c *cobra.Command, cl *client.Client, queue string, ds []wire.Delivery) error {
	receipts := make([]string, len(ds))
	for i, d := range ds {
		receipts[i] = d.Receipt
	}
	deleted, err := cl.DeleteMessages(c.Context(), queue, receipts...)
	if err != nil {
		return err
	}
	for i, ok := range deleted {
		if !ok {
			return rouse.Errorf(rouse.Conflict, "delete message", strconv.FormatInt(ds[i].ID, 10), "its time was over before it was deleted; it may come again")
		}
	}
	return nil
}

func queuePeek(a *app) *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use:   "peek NAME",
		Short: "Look at messages without receiving them",
		Example: `  rouse queue peek jobs
  rouse queue peek jobs-dead --limit 100`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ds, err := cl.Peek(c.Context(), args[0], limit)
			if err != nil {
				return err
			}
			return a.printMessages(args[0], ds)
		},
	}
	c.Flags().IntVar(&limit, "limit", 10, "at most so many, 1 to 1000")
	return c
}

func (a *app) printMessages(queue string, ds []wire.Delivery) error {
	if a.json {
		return a.printJSON(wire.Deliveries{Messages: ds})
	}
	if len(ds) == 0 {
		fmt.Fprintf(a.err, "queue %s has no message that can be received\n", queue)
		return nil
	}
	for i := range ds {
		d := &ds[i]
		b, err := d.Bytes()
		if err != nil {
			return err
		}
		head := []string{strconv.FormatInt(d.ID, 10), "sent " + ago(d.Sent), "received " + plural(d.Count, "time")}
		if d.Group != "" {
			head = append(head, "group "+d.Group)
		}
		if d.Origin != nil {
			head = append(head, fmt.Sprintf("from %s, where it was received %s", d.Origin.Queue.Name, plural(d.Origin.Count, "time")))
		}
		if len(d.Attributes) > 0 {
			attributes, _ := json.Marshal(d.Attributes) // strings always marshal
			head = append(head, string(attributes))
		}
		fmt.Fprintln(a.out, a.paint(a.out, faint, strings.Join(head, ", ")))
		fmt.Fprintln(a.out, show(b))
	}
	return nil
}

func queueList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List queues with what is in them",
		Example: `  rouse queue ls
  rouse queue ls --json`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			all, err := allQueues(c.Context(), cl)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Queues{Queues: all})
			}
			rows := [][]string{{"NAME", "VISIBLE", "LEASED", "DELAYED", "VISIBILITY", "KEEPS", "DEAD LETTERS", "KIND"}}
			for _, q := range all {
				kind, keeps, dead := "-", "for ever", "-"
				if q.Fifo {
					kind = "fifo"
				}
				if q.Keep > 0 {
					keeps = q.Keep.String()
				}
				if q.DeadLetter != "" {
					dead = fmt.Sprintf("%s after %d", q.DeadLetter, q.MaxReceives)
				}
				rows = append(rows, []string{q.Name, fmt.Sprint(q.Counts.Visible), fmt.Sprint(q.Counts.Leased), fmt.Sprint(q.Counts.Delayed), q.Visibility.String(), keeps, dead, kind})
			}
			return a.table(rows)
		},
	}
}

func queuePurge(a *app) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use:               "purge NAME",
		Short:             "Remove all messages of a queue",
		Example:           `  rouse queue purge jobs --yes`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) error {
			if !sure {
				if err := a.ask(c, fmt.Sprintf("remove all messages of %s?", args[0]), "the messages stay"); err != nil {
					return err
				}
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := cl.Purge(c.Context(), args[0]); err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.out, "%s is empty\n", args[0])
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	return c
}

func queueRedrive(a *app) *cobra.Command {
	var in wire.RedriveQueue
	c := &cobra.Command{
		Use:   "redrive NAME",
		Short: "Send messages back to where they came from, or to another queue",
		Long: `Send the messages of a dead-letter queue back to the queues they came from, or,
with --to, those of any queue to another.`,
		Example: `  rouse queue redrive jobs-dead
  rouse queue redrive jobs-dead --to jobs --limit 10`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeQueues(),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			n, err := cl.RedriveQueue(c.Context(), args[0], in.To, in.Limit)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(wire.Redriven{Redriven: n})
			}
			fmt.Fprintf(a.out, "%s sent\n", plural(n, "message"))
			return nil
		},
	}
	c.Flags().StringVar(&in.To, "to", "", "the `queue` to send to (default where each came from)")
	c.Flags().IntVar(&in.Limit, "limit", 0, "at most so many `messages` (default all)")
	return c
}

func queueRemove(a *app) *cobra.Command {
	return a.remover("queue", "a queue with its messages", "with its messages", a.completeQueues(), (*client.Client).RemoveQueue)
}
