package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/data"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

func bucketCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "bucket",
		Short: "Make buckets, and copy files to and from them",
		Long: `A bucket holds objects of any size by key. An object is written BUCKET:KEY, such as
photos:2026/cat.jpg; what has a colon nowhere, or after a slash, is a file.`,
		Example: `  rouse bucket mk photos
  rouse bucket cp cat.jpg photos:2026/
  rouse bucket ls photos:2026/
  rouse bucket cp photos:2026/cat.jpg .`,
		Args: unknown,
		RunE: help,
	}
	c.AddCommand(bucketMake(a), bucketCopy(a), bucketList(a), bucketRemove(a))
	return c
}

// place takes "bucket:key" apart; object is false for what is a file.
func place(s string) (bucket, key string, object bool) {
	bucket, key, object = strings.Cut(s, ":")
	return bucket, key, object && bucket != "" && !strings.Contains(bucket, "/")
}

// completeBuckets gives a shell names of buckets and, behind a colon, of the
// objects in one, a folder at a time.
func (a *app) completeBuckets(most int, files bool) completion {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		if files {
			directive = cobra.ShellCompDirectiveNoSpace
		}
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		bucket, key, ok := place(prefix)
		if !ok {
			names := namesOf(c, a, allBuckets, func(b data.Bucket) string { return b.Name + ":" })
			return beginning(prefix, names), directive
		}
		list := func(ctx context.Context, cl *client.Client) ([]string, error) {
			p, err := cl.Objects(ctx, bucket, client.ObjectQuery{Prefix: key, Delimiter: "/"})
			all := p.Prefixes
			for _, o := range p.Objects {
				all = append(all, o.Key)
			}
			return all, err
		}
		return namesOf(c, a, list, func(k string) string { return bucket + ":" + k }), directive
	}
}

func bucketMake(a *app) *cobra.Command {
	var o wire.BucketOptions
	var changes time.Duration
	c := &cobra.Command{
		Use:   "mk NAME",
		Short: "Make a bucket, or change one",
		Example: `  rouse bucket mk photos
  rouse bucket mk documents --versioned`,
		Args:              exactly("NAME"),
		ValidArgsFunction: a.completeBuckets(1, false),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			o.Changes = rouse.Duration(changes)
			b, err := cl.SetBucket(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(b)
			}
			fmt.Fprintf(a.out, "bucket %s is ready; copy to it with: rouse bucket cp FILE %s:\n", b.Name, b.Name)
			return nil
		},
	}
	c.Flags().BoolVar(&o.Versioned, "versioned", false, "keep what is replaced or deleted as older versions")
	durationVar(c.Flags(), &changes, "changes", 24*time.Hour, "how long changes are kept for rules; below 0 keeps none")
	return c
}

func bucketList(a *app) *cobra.Command {
	var all, versions bool
	c := &cobra.Command{
		Use:   "ls [BUCKET[:PREFIX]]",
		Short: "List buckets, or what is in one",
		Long: `List buckets, or the objects of one whose keys begin with PREFIX. Keys that go on
after a slash are shown as one folder, unless -r is given.`,
		Example: `  rouse bucket ls
  rouse bucket ls photos
  rouse bucket ls photos:2026/ -r
  rouse bucket ls photos --versions`,
		Args:              between(0, "BUCKET"),
		ValidArgsFunction: a.completeBuckets(1, false),
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listBuckets(c.Context(), cl)
			}
			bucket, prefix, _ := strings.Cut(args[0], ":")
			q := client.ObjectQuery{Prefix: prefix, Versions: versions}
			if !all && !versions {
				q.Delimiter = "/"
			}
			return a.listObjects(c.Context(), cl, bucket, q)
		},
	}
	c.Flags().BoolVarP(&all, "recursive", "r", false, "all objects, and no folders")
	c.Flags().BoolVar(&versions, "versions", false, "all versions")
	return c
}

func (a *app) listBuckets(ctx context.Context, cl *client.Client) error {
	all, err := allBuckets(ctx, cl)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(wire.Buckets{Buckets: all})
	}
	rows := [][]string{{"NAME", "VERSIONED", "CREATED"}}
	for _, b := range all {
		versioned := "-"
		if b.Versioned {
			versioned = "versioned"
		}
		rows = append(rows, []string{b.Name, versioned, ago(b.Created)})
	}
	return a.table(rows)
}

// eachPage calls f with the pages of a bucket's objects.
func eachPage(ctx context.Context, cl *client.Client, bucket string, q client.ObjectQuery, f func(wire.Objects) error) error {
	for {
		p, err := cl.Objects(ctx, bucket, q)
		if err != nil {
			return err
		}
		if err := f(p); err != nil || p.Next == "" {
			return err
		}
		q.After = p.Next
		if q.Versions {
			q.Version = p.Version
		}
	}
}

func (a *app) listObjects(ctx context.Context, cl *client.Client, bucket string, q client.ObjectQuery) error {
	all := wire.Objects{Objects: []data.Object{}}
	err := eachPage(ctx, cl, bucket, q, func(p wire.Objects) error {
		all.Objects, all.Prefixes = append(all.Objects, p.Objects...), append(all.Prefixes, p.Prefixes...)
		return nil
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(all)
	}
	rows := [][]string{{"SIZE", "MODIFIED", "TYPE", "KEY"}}
	if q.Versions {
		rows[0] = append(rows[0], "VERSION")
	}
	for _, p := range all.Prefixes {
		rows = append(rows, []string{"-", "-", "folder", p})
	}
	for _, o := range all.Objects {
		row := []string{objectSize(o), ago(o.Modified), first(o.Header["Content-Type"], "-"), o.Key}
		if q.Versions {
			row = append(row, o.Version)
		}
		rows = append(rows, row)
	}
	return a.table(rows)
}

func objectSize(o data.Object) string {
	if o.Marker {
		return "deleted"
	}
	return first(strings.Replace(size(o.Size), "-", "", 1), "0B")
}

func bucketRemove(a *app) *cobra.Command {
	var sure, all bool
	var version string
	c := &cobra.Command{
		Use:   "rm BUCKET | BUCKET:KEY",
		Short: "Remove an object, or an empty bucket",
		Long: `Remove an object, or a bucket, which must be empty. With -r remove all objects whose
keys begin with KEY, or a bucket with all that is in it.`,
		Example: `  rouse bucket rm photos:2026/cat.jpg
  rouse bucket rm photos:2026/ -r
  rouse bucket rm photos -r --yes`,
		Args:              exactly("BUCKET:KEY"),
		ValidArgsFunction: a.completeBuckets(1, false),
		RunE: func(c *cobra.Command, args []string) error {
			bucket, key, object := strings.Cut(args[0], ":")
			if object && key == "" && !all {
				return usage(c, "the key is missing; give BUCKET for the bucket, or -r for all that is in it")
			}
			if (all || !object) && !sure {
				if err := a.ask(c, fmt.Sprintf("remove %s?", removed(bucket, key, object, all)), args[0]+" stays"); err != nil {
					return err
				}
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if !object || all {
				return a.removeAll(c.Context(), cl, bucket, key, all, !object)
			}
			if version == "" { // to delete what is not there is no error, and may make a marker
				if _, err := cl.StatObject(c.Context(), bucket, key, client.ObjectGet{}); err != nil {
					return err
				}
			}
			d, err := cl.DeleteObject(c.Context(), bucket, key, version)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			fmt.Fprintf(a.out, "removed %s\n", args[0])
			return nil
		},
	}
	c.Flags().BoolVarP(&sure, "yes", "y", false, "do not ask")
	c.Flags().BoolVarP(&all, "recursive", "r", false, "all that begins with KEY, or all that is in BUCKET")
	c.Flags().StringVar(&version, "version", "", "only this `version` of the object")
	return c
}

func removed(bucket, key string, object, all bool) string {
	switch {
	case object:
		return fmt.Sprintf("all objects of %s that begin with %q", bucket, key)
	case all:
		return fmt.Sprintf("bucket %s with all that is in it", bucket)
	}
	return "bucket " + bucket
}

// removeAll removes objects, and then the bucket where that is meant as well:
// then with all versions, which would keep it from going.
func (a *app) removeAll(ctx context.Context, cl *client.Client, bucket, prefix string, objects, whole bool) error {
	n := 0
	if objects {
		q := client.ObjectQuery{Prefix: prefix, Versions: whole}
		err := eachPage(ctx, cl, bucket, q, func(p wire.Objects) error {
			for _, o := range p.Objects {
				version := ""
				if whole {
					version = o.Version
				}
				if _, err := cl.DeleteObject(ctx, bucket, o.Key, version); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if whole {
		if err := cl.RemoveBucket(ctx, bucket); err != nil {
			return err
		}
	}
	if a.json {
		return nil
	}
	if objects {
		fmt.Fprintf(a.out, "removed %s\n", plural(n, "object"))
	}
	if whole {
		fmt.Fprintf(a.out, "removed %s\n", bucket)
	}
	return nil
}
