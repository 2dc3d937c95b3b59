// Package postgres keeps what the platform remembers in a PostgreSQL database,
// which several nodes may share: a table for each map of keys, and two for each
// day of records, all in the schema "rouse".
//
// Transactions are serializable, and those that meet another's are repeated. The
// changes that wait at one node at the same time are made in one transaction,
// whose reads share their round trips; the callers are told once it is durable.
// Where the connection breaks while a transaction commits, nobody knows whether
// it did: its callers are told so, and it is not repeated. In all other cases
// what a lost connection undid is tried again, for half a minute at most.
//
// What others of its kind may lack is not used: no NOTIFY, no advisory lock, no
// trigger. Payloads carry a CRC32C.
package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-run/rouse"
)

const (
	schemaVersion = 1
	maxConns      = 12               // of each of the two pools, where the URL does not say
	patience      = 30 * time.Second // for which what may still succeed is tried again
)

// A Config says where a Store is.
type Config struct {
	URL string           // as libpq takes it; pool_max_conns bounds the connections that read, and those that write
	Log *slog.Logger     // nil discards
	Now func() time.Time // nil is time.Now
}

// A Store is an open database. Its methods may be called concurrently.
type Store struct {
	config  Config
	read    *pgxpool.Pool
	write   *pgxpool.Pool // of its own, for a View may wait for an Update
	records *records
	closing chan struct{}

	mu   sync.Mutex
	keys map[string]*keys // guarded by mu; nil once closed

	once sync.Once
}

// Open connects to a database and makes the schema where it is missing. Errors:
// Invalid where the URL can't be read, a newer version of the program made the
// schema, or the server does not keep what it commits; Denied; Unavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	pc, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, rouse.Errorf(rouse.Invalid, "open store", "", "read the URL: %w", err)
	}
	if !strings.Contains(c.URL, "pool_max_conns") {
		pc.MaxConns = maxConns
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	pc.AfterConnect = prepareSession
	s := &Store{config: c, keys: map[string]*keys{}, closing: make(chan struct{})}
	if s.read, err = pgxpool.NewWithConfig(ctx, pc); err == nil {
		s.write, err = pgxpool.NewWithConfig(ctx, pc.Copy())
	}
	if err == nil {
		err = s.makeSchema(ctx)
	}
	if err == nil {
		s.records, err = openRecords(ctx, s)
	}
	if err != nil {
		return nil, errors.Join(explain("open", "store", err), s.Close())
	}
	return s, nil
}

// prepareSession makes a connection one that keeps what it commits, and takes
// the index for small tables as well: a transaction that reads all of a table
// conflicts with all that write to it.
func prepareSession(ctx context.Context, c *pgx.Conn) error {
	var fsync, commit string
	err := c.QueryRow(ctx, "SHOW fsync").Scan(&fsync)
	if code(err) == undefinedObject {
		err = nil // not every kind of server has it
	}
	if err == nil {
		err = c.QueryRow(ctx, "SHOW synchronous_commit").Scan(&commit)
	}
	if err != nil {
		return err
	}
	if fsync == "off" {
		return rouse.Errorf(rouse.Invalid, "open", "store", "the server has fsync off and loses what it commits when the power fails: set fsync = on")
	}
	if commit == "off" || commit == "local" { // the others keep more than we need
		if _, err := c.Exec(ctx, "SET synchronous_commit = on"); err != nil {
			return err
		}
	}
	// A bitmap is of a whole span, also where only the first of it is wanted.
	for _, plan := range []string{"enable_seqscan", "enable_bitmapscan"} {
		_, err := c.Exec(ctx, "SET "+plan+" = off")
		if err != nil && code(err) != undefinedObject {
			return err
		}
	}
	return nil
}

// makeSchema refuses one that is newer, before anything is written.
func (s *Store) makeSchema(ctx context.Context) error {
	number, err := s.schemaNumber(ctx)
	// Another node that makes it now may have made the table and not the row.
	if code(err) == undefinedTable || errors.Is(err, pgx.ErrNoRows) {
		for _, query := range []string{
			"CREATE SCHEMA IF NOT EXISTS rouse",
			"CREATE TABLE IF NOT EXISTS rouse.version(id INTEGER PRIMARY KEY, number INTEGER NOT NULL)",
			fmt.Sprintf("INSERT INTO rouse.version(id, number) VALUES(1, %d) ON CONFLICT(id) DO NOTHING", schemaVersion),
		} {
			if err := s.define(ctx, query); err != nil {
				return err
			}
		}
		number, err = s.schemaNumber(ctx)
	}
	if err != nil {
		return err
	}
	if number != schemaVersion {
		return rouse.Errorf(rouse.Invalid, "open store", "rouse",
			"the schema has version %d and this program knows only %d: run a newer version", number, schemaVersion)
	}
	return nil
}

func (s *Store) schemaNumber(ctx context.Context) (number int, err error) {
	err = s.write.QueryRow(ctx, "SELECT number FROM rouse.version WHERE id=1").Scan(&number)
	return number, err
}

// define runs a statement that makes something where it is missing. Others may
// make it at the same time, which IF NOT EXISTS does not see.
func (s *Store) define(ctx context.Context, query string) error {
	var err error
	for range 10 {
		_, err = s.write.Exec(ctx, query)
		if c := code(err); c != uniqueViolation && c != duplicateTable && c != duplicateObject && c != duplicateSchema && !conflict(err) {
			break
		}
	}
	return err
}

// Records returns what ran.
func (s *Store) Records() rouse.Records { return s.records }

// Keys returns the map of a name, which is a table. Errors: Invalid,
// Unavailable.
func (s *Store) Keys(ctx context.Context, name string) (rouse.Keys, error) {
	if err := rouse.CheckName(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	k, closed := s.keys[name], s.keys == nil
	s.mu.Unlock()
	if k != nil {
		return k, nil
	}
	if closed {
		return nil, explain("open", name, errClosed)
	}
	table := pgx.Identifier{"rouse", tableOf(name)}.Sanitize()
	err := s.define(ctx, "CREATE TABLE IF NOT EXISTS "+table+"(key BYTEA PRIMARY KEY, crc BIGINT NOT NULL, value BYTEA NOT NULL)")
	if err != nil {
		return nil, explain("open", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		return nil, explain("open", name, errClosed)
	}
	if s.keys[name] == nil {
		s.keys[name] = startKeys(s, name, statementsOf(table))
	}
	return s.keys[name], nil
}

// tableOf fits a name into the 63 bytes that one has in PostgreSQL.
func tableOf(name string) string {
	if len(name) > 50 {
		sum := sha256.Sum256([]byte(name))
		name = name[:20] + "." + hex.EncodeToString(sum[:14])
	}
	return "keys_" + name
}

// Close commits what was accepted, refuses what comes later and lets go of the
// connections, once every View has ended. It may be called again.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.mu.Lock()
		all := s.keys
		s.keys = nil
		s.mu.Unlock()
		for _, k := range all {
			k.writers.Wait()
		}
		for _, p := range []*pgxpool.Pool{s.write, s.read} {
			if p != nil {
				p.Close()
			}
		}
	})
	return nil
}

// closed reports whether Close was called.
func (s *Store) closed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}
