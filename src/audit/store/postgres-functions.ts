/**
 * The functions of the schema `audit`. Those that do what their caller may not are security definers: their search path
 * is pinned, every name is qualified, and only the role that needs one may execute it.
 */
export const FUNCTIONS = `
CREATE FUNCTION audit.refuse() RETURNS trigger
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit trail is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

-- A MAC key belongs to a trail: the first writer states which; returns the one that was stated.
CREATE FUNCTION audit.claim_key(key_id text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  stated text;
BEGIN
  SELECT value INTO stated FROM audit.meta WHERE name = 'key_id';
  IF stated IS NULL THEN
    INSERT INTO audit.meta (name, value) VALUES ('key_id', key_id) ON CONFLICT DO NOTHING;
    SELECT value INTO stated FROM audit.meta WHERE name = 'key_id';
  END IF;
  RETURN stated;
END $$;

-- Makes the partitions of this month and so many after it; returns how many were missing. Attaching, unlike creating in
-- place, does not wait for readers.
CREATE FUNCTION audit.ensure_partitions(months int) RETURNS int
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s'
AS $$
DECLARE
  start timestamptz;
  partition text;
  made int := 0;
BEGIN
  IF months IS NULL OR months NOT BETWEEN 0 AND 12 THEN
    RAISE EXCEPTION 'between 0 and 12 months ahead, not %', months USING ERRCODE = 'invalid_parameter_value';
  END IF;
  FOR ahead IN 0..months LOOP
    start := date_trunc('month', now()) + make_interval(months => ahead);
    partition := 'trail_' || to_char(start, 'YYYY_MM');
    CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relname = partition AND c.relnamespace = 'audit'::regnamespace);
    PERFORM pg_advisory_xact_lock(hashtext('mcp-aws-server audit partitions'));
    -- Looked up in the table, not with to_regclass, which would remember what it found before the lock.
    CONTINUE WHEN EXISTS (SELECT FROM pg_class c WHERE c.relname = partition AND c.relnamespace = 'audit'::regnamespace);
    EXECUTE format('CREATE TABLE audit.%I (LIKE audit.trail INCLUDING ALL)', partition);
    EXECUTE format('REVOKE ALL ON audit.%I FROM PUBLIC, mcp_audit_writer, mcp_audit_reader, mcp_audit_retention', partition);
    EXECUTE format(
      'ALTER TABLE audit.trail ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)',
      partition, start, start + interval '1 month');
    -- Statements that go through the parent do not fire a partition's statement triggers: INSERT goes that way only.
    EXECUTE format(
      'CREATE TRIGGER append_only BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON audit.%I '
      'FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse()', partition);
    EXECUTE format('ALTER TABLE audit.%I ENABLE ALWAYS TRIGGER append_only', partition);
    made := made + 1;
  END LOOP;
  RETURN made;
END $$;

-- Drops the oldest partition once all of it is old, exported (a tombstone says so) and copied to the log service, if it
-- ever copied anything there. What takes long is done while others write and read on; the lock that keeps them waiting
-- comes last, and is not itself waited for long: those behind it would be the writers.
CREATE FUNCTION audit.retire_partition(partition text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s'
AS $$
DECLARE
  bound text;
  ending timestamptz;
  older text;
  chain record;
  chains text[] := '{}';
  name text;
  dropped bigint := 0;
BEGIN
  SELECT pg_get_expr(c.relpartbound, c.oid) INTO bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'audit.trail'::regclass AND c.relname = partition;
  IF bound IS NULL THEN
    RAISE EXCEPTION '% is no partition of the trail', partition USING ERRCODE = 'undefined_table';
  END IF;
  ending := substring(bound FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz;
  IF ending IS NULL OR ending > now() - interval '90 days' THEN
    RAISE EXCEPTION '% holds rows younger than 90 days, until %', partition, ending
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  SELECT min(c.relname) INTO older
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'audit.trail'::regclass
      AND substring(pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \\('([^']+)'\\)$re$)::timestamptz < ending;
  IF older IS NOT NULL THEN
    RAISE EXCEPTION '% is older and comes first', older USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  -- From here on nothing is added to this partition, which nobody writes to but by mistake, and nobody else retires it:
  -- what is checked now is so until the end. Reading it goes on, and so does writing to the others.
  EXECUTE format('LOCK TABLE audit.%I IN SHARE ROW EXCLUSIVE MODE', partition);
  FOR chain IN EXECUTE
    format('SELECT writer, max(seq) AS seq, count(*) AS rows FROM audit.%I GROUP BY writer', partition)
  LOOP
    IF NOT EXISTS (SELECT FROM audit.tombstones t WHERE t.writer = chain.writer AND t.seq >= chain.seq) THEN
      RAISE EXCEPTION 'no tombstone covers row % of chain % in %', chain.seq, chain.writer, partition
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF EXISTS (SELECT FROM state.shipped)
      AND NOT EXISTS (SELECT FROM state.shipped s WHERE s.writer = chain.writer AND s.seq >= chain.seq) THEN
      RAISE EXCEPTION 'row % of chain % in % has not been copied to the log service', chain.seq, chain.writer, partition
        USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    chains := chains || chain.writer;
    dropped := dropped + chain.rows;
  END LOOP;
  LOCK TABLE audit.trail IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('ALTER TABLE audit.trail DETACH PARTITION audit.%I', partition);
  EXECUTE format('DROP TABLE audit.%I', partition);
  -- Their rows are gone; the tombstone says what they said. A chain's trigger is off for nobody else: the table is locked.
  ALTER TABLE audit.checkpoints DISABLE TRIGGER append_only;
  FOREACH name IN ARRAY chains LOOP
    DELETE FROM audit.checkpoints c
      WHERE c.writer = name
        AND c.number <= (SELECT max(t.number) FROM audit.tombstones t WHERE t.writer = name)
        AND c.seq < coalesce((SELECT min(r.seq) FROM audit.trail r WHERE r.writer = name), 9223372036854775807)
        AND EXISTS (SELECT FROM audit.tombstones t WHERE t.writer = name AND t.number >= c.number AND t.seq >= c.seq);
  END LOOP;
  ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER append_only;
  RETURN dropped;
END $$;
`;
