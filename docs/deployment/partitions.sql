-- Makes heroes and their links partitioned tables: psql --file partitions.sql, after `hero-teams migrate` and before the
-- first hero. A hero is in one of 16 partitions by its id, and its links are in one by the same id.
BEGIN;
-- Until the end nobody writes a hero that would be lost.
LOCK TABLE hero_team_link, hero;
CREATE TABLE hero_partitioned (LIKE hero INCLUDING INDEXES) PARTITION BY HASH (id);
CREATE TABLE hero_team_link_partitioned (LIKE hero_team_link INCLUDING INDEXES) PARTITION BY HASH (hero_id);
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE hero_%s PARTITION OF hero_partitioned
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
        EXECUTE format('CREATE TABLE hero_team_link_%s PARTITION OF hero_team_link_partitioned
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
    END LOOP;
    IF EXISTS (SELECT FROM hero) THEN
        RAISE 'there are heroes, which would be lost';
    END IF;
END $$;
DROP TABLE hero_team_link, hero;
ALTER TABLE hero_partitioned RENAME TO hero;
ALTER TABLE hero_team_link_partitioned RENAME TO hero_team_link;
-- A partitioned table has no identity column before PostgreSQL 17.
CREATE SEQUENCE hero_id_seq OWNED BY hero.id;
ALTER TABLE hero ALTER id SET DEFAULT nextval('hero_id_seq');
ALTER TABLE hero_team_link
    ADD CONSTRAINT fk_hero_team_link_hero_id FOREIGN KEY (hero_id) REFERENCES hero (id) ON DELETE CASCADE,
    ADD CONSTRAINT fk_hero_team_link_team_id FOREIGN KEY (team_id) REFERENCES team (id) ON DELETE CASCADE;
COMMIT;
