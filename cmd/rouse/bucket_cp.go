package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/rouse-run/rouse"
	"github.com/rouse-run/rouse/dialect/native/client"
	"github.com/rouse-run/rouse/dialect/native/wire"
)

// copiesAtOnce is how many files of a folder are copied side by side.
const copiesAtOnce = 4

// A copying copies files and objects.
type copying struct {
	*app
	client      *client.Client
	progress    *progress
	contentType string
	meta        map[string]string
	done        atomic.Int64 // files
}

func bucketCopy(a *app) *cobra.Command {
	v := &copying{app: a}
	var recursive bool
	var meta []string
	c := &cobra.Command{
		Use:   "cp FROM TO",
		Short: "Copy files to a bucket, from one, or within it",
		Long: `Copy a file to an object, an object to a file, or an object to another. - is
standard input, or output. A TO that ends with / or : is a folder: the name stays.
With -r FROM is a folder, or the beginning of keys, and all that is in it is copied;
links are not followed.`,
		Example: `  rouse bucket cp cat.jpg photos:2026/
  rouse bucket cp photos:2026/cat.jpg .
  rouse bucket cp -r site web:
  rouse bucket cp -r photos:2026/ ./photos
  pg_dump shop | rouse bucket cp - backups:shop.sql
  rouse bucket cp photos:a.jpg other:b.jpg`,
		Args: exactly("FROM", "TO"),
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return a.completeBuckets(2, true)(c, args, prefix)
		},
		RunE: func(c *cobra.Command, args []string) (err error) {
			if v.meta, err = pairs(c, "--meta", meta); err != nil {
				return err
			}
			if v.client, err = a.client(); err != nil {
				return err
			}
			v.progress = newProgress(a.err, terminal(a.err) && !a.json)
			err = v.run(c, args[0], args[1], recursive)
			v.progress.close()
			if err != nil {
				return err
			}
			if recursive && !a.json {
				fmt.Fprintf(a.out, "copied %s\n", plural(int(v.done.Load()), "file"))
			}
			return nil
		},
	}
	f := c.Flags()
	f.BoolVarP(&recursive, "recursive", "r", false, "copy all that is in a folder, or that begins with a key")
	f.StringVar(&v.contentType, "content-type", "", "what the object is (default by the file's name)")
	f.StringArrayVar(&meta, "meta", nil, "`name=value` to keep with the object; may be given often")
	return c
}

func (v *copying) run(c *cobra.Command, from, to string, recursive bool) error {
	fromBucket, fromKey, fromObject := place(from)
	toBucket, toKey, toObject := place(to)
	ctx := c.Context()
	switch {
	case !fromObject && !toObject:
		return usage(c, "neither %s nor %s is an object; one must be such as BUCKET:KEY", from, to)
	case recursive && (from == "-" || to == "-"):
		return usage(c, "- is no folder; leave -r out")
	case recursive && fromObject && toObject:
		return usage(c, "-r copies between a folder and a bucket; copy objects one by one")
	case fromObject && toObject:
		return v.within(ctx, fromBucket, fromKey, toBucket, inFolder(toKey, path.Base(fromKey)))
	case recursive && toObject:
		return v.putFolder(ctx, from, toBucket, toKey)
	case recursive:
		return v.getFolder(ctx, fromBucket, fromKey, to)
	case toObject && from == "-":
		return v.putStream(ctx, toBucket, toKey)
	case toObject:
		info, err := os.Stat(from)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return usage(c, "%s is a folder; give -r to copy what is in it", from)
		}
		v.progress.expect("uploading", info.Size())
		return v.putFile(ctx, from, toBucket, inFolder(toKey, filepath.Base(from)))
	case to == "-":
		return v.get(ctx, fromBucket, fromKey, v.out)
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		to = filepath.Join(to, path.Base(fromKey))
	}
	o, err := v.client.StatObject(ctx, fromBucket, fromKey, client.ObjectGet{})
	if err != nil {
		return err
	}
	v.progress.expect("downloading", o.Size)
	return v.getFile(ctx, fromBucket, fromKey, to)
}

// inFolder returns where to copy to: key, or name in it where it is a folder.
func inFolder(key, name string) string {
	if key == "" || strings.HasSuffix(key, "/") {
		return key + name
	}
	return key
}

func (v *copying) within(ctx context.Context, fromBucket, fromKey, toBucket, toKey string) error {
	o, err := v.client.CopyObject(ctx, toBucket, toKey, wire.CopyFrom{Bucket: fromBucket, Key: fromKey})
	if err != nil || !v.json {
		return err
	}
	return v.printJSON(o)
}

func (v *copying) putStream(ctx context.Context, bucket, key string) error {
	if key == "" || strings.HasSuffix(key, "/") {
		return rouse.Errorf(rouse.Invalid, "copy", bucket+":"+key, "what comes in has no name; give the whole key")
	}
	return v.put(ctx, bucket, key, 0, v.in)
}

func (v *copying) put(ctx context.Context, bucket, key string, size int64, r io.Reader) error {
	kind := first(v.contentType, mime.TypeByExtension(path.Ext(key)))
	o, err := v.client.PutObject(ctx, bucket, key, client.ObjectPut{ContentType: kind, Meta: v.meta, Size: size}, v.progress.counting(r))
	if err != nil {
		return err
	}
	v.done.Add(1)
	if v.json {
		return v.printJSON(o)
	}
	return nil
}

func (v *copying) putFile(ctx context.Context, name, bucket, key string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return v.put(ctx, bucket, key, info.Size(), f)
}

func (v *copying) putFolder(ctx context.Context, dir, bucket, prefix string) error {
	var names, skipped []string
	total := int64(0)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			skipped = append(skipped, name)
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		names, total = append(names, name), total+info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range skipped {
		fmt.Fprintf(v.err, "%s is a link, or no plain file, and is not copied\n", name)
	}
	v.progress.expect("uploading", total)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.atOnce())
	for _, name := range names {
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		g.Go(func() error { return v.putFile(ctx, name, bucket, prefix+filepath.ToSlash(rel)) })
	}
	return g.Wait()
}

// atOnce keeps what is printed as JSON from being mixed.
func (v *copying) atOnce() int {
	if v.json {
		return 1
	}
	return copiesAtOnce
}

func (v *copying) get(ctx context.Context, bucket, key string, w io.Writer) error {
	_, body, err := v.client.GetObject(ctx, bucket, key, client.ObjectGet{})
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(w, v.progress.counting(body)); err != nil {
		return fmt.Errorf("read %s:%s: %w", bucket, key, err)
	}
	v.done.Add(1)
	return nil
}

// getFile writes beside the file and puts that in its place when it is complete.
func (v *copying) getFile(ctx context.Context, bucket, key, name string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".rouse-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := v.get(ctx, bucket, key, f); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if v.json {
		return v.printJSON(map[string]string{"key": key, "file": name})
	}
	return nil
}

func (v *copying) getFolder(ctx context.Context, bucket, prefix, dir string) error {
	type object struct {
		key, file string
	}
	var all []object
	total := int64(0)
	// A prefix is a folder up to its last slash: what follows stays.
	folder := prefix[:strings.LastIndexByte(prefix, '/')+1]
	err := eachPage(ctx, v.client, bucket, client.ObjectQuery{Prefix: prefix}, func(p wire.Objects) error {
		for _, o := range p.Objects {
			rel := filepath.FromSlash(strings.TrimPrefix(o.Key, folder))
			if !filepath.IsLocal(rel) || strings.HasSuffix(o.Key, "/") {
				return rouse.Errorf(rouse.Invalid, "copy", bucket+":"+o.Key, "its key can't be the name of a file in %s; copy it by itself", dir)
			}
			all, total = append(all, object{o.Key, filepath.Join(dir, rel)}), total+o.Size
		}
		return nil
	})
	if err != nil {
		return err
	}
	v.progress.expect("downloading", total)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(v.atOnce())
	for _, o := range all {
		g.Go(func() error {
			if err := os.MkdirAll(filepath.Dir(o.file), 0o755); err != nil {
				return err
			}
			return v.getFile(ctx, bucket, o.key, o.file)
		})
	}
	return g.Wait()
}
