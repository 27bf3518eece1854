BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE audit (
	number INTEGER NOT NULL, 
	at TEXT NOT NULL, 
	who TEXT NOT NULL, 
	what TEXT NOT NULL, 
	case_id TEXT, 
	details TEXT NOT NULL, 
	previous VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (number)
);
INSERT INTO "audit" VALUES(1,'2026-11-29T17:49:04.993781+00:00','idp|anna','kept','ffffffffffffffffffffff','{"bytes": 2, "images": 2}','0000000000000000000000000000000000000000000000000000000000000000','1de262f6f19ad83e6c0367a0b76c7ddf539ecc760b924d17b12cf88cd6b6a7ef');
INSERT INTO "audit" VALUES(2,'2026-11-29T17:49:05.024381+00:00','idp|ben','kept','ssssssssssssssssssssss','{"bytes": 1, "images": 1}','1de262f6f19ad83e6c0367a0b76c7ddf539ecc760b924d17b12cf88cd6b6a7ef','53624a5792cf349e0faa2eb4971f05aa3d5273765bcd9b8ad82e6bc7d1478955');
INSERT INTO "audit" VALUES(3,'2026-11-29T17:49:05.077526+00:00','idp|ben','seen','ffffffffffffffffffffff','{}','53624a5792cf349e0faa2eb4971f05aa3d5273765bcd9b8ad82e6bc7d1478955','70ed2ce2346779c2144ec9c82d634074c1af4a73cfc333a762bb7c815edd1668');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id), 
	CONSTRAINT ck_audit_head_one CHECK (id = 1)
);
INSERT INTO "audit_head" VALUES(1,3,'70ed2ce2346779c2144ec9c82d634074c1af4a73cfc333a762bb7c815edd1668');
CREATE TABLE blobs (
	sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (sha256)
);
INSERT INTO "blobs" VALUES('ae73bf1776175d2c9a3ca7a27354b0130d0f45530817a1e7e5108c72ce4b298a');
INSERT INTO "blobs" VALUES('d4c09b249824de4f2fa6a102f3980855ec157fa58fdce3ce6a96b177d2f52c2b');
INSERT INTO "blobs" VALUES('96fca3abe0a3ccc5529725fc2874c0da4e5091e7858afc64df803b8d4d9d35b9');
CREATE TABLE case_images (
	case_id VARCHAR(22) NOT NULL, 
	number INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	sha256 VARCHAR(64), 
	settings TEXT NOT NULL, 
	opinion TEXT NOT NULL, 
	origin TEXT, 
	thumbnail BLOB NOT NULL, 
	weights_sha256 TEXT NOT NULL, 
	version TEXT NOT NULL, 
	CONSTRAINT pk_case_images PRIMARY KEY (case_id, number), 
	CONSTRAINT fk_case_images_case_id FOREIGN KEY(case_id) REFERENCES cases (id) ON DELETE CASCADE, 
	CONSTRAINT fk_case_images_sha256 FOREIGN KEY(sha256) REFERENCES blobs (sha256)
);
INSERT INTO "case_images" VALUES('ffffffffffffffffffffff',1,'one.png','ae73bf1776175d2c9a3ca7a27354b0130d0f45530817a1e7e5108c72ce4b298a','{"target": "malignant", "rule": "mean_std", "parameter": 1.0, "opacity": 0.5, "fixed": false}','{"file": "field.png", "status": "ok", "reason": null, "gate": {"reason": null, "distance": 1.25, "rarer": 0.5, "laboratory": "UCSB"}, "verdict": "malignant", "prediction": "malignant", "probabilities": {"benign": 0.09999999999999998, "malignant": 0.9}, "weights": "breast", "weights_sha256": "5555555555555555555555555555555555555555555555555555555555555555", "site": {"name": "Uni-Klinik K\u00f6ln \ud83d\udd2c", "sha256": "6666666666666666666666666666666666666666666666666666666666666666"}, "map": {"values": [[0.1, -2.5e-07], [0.3333333333333333, 0.0]]}}',NULL,X'FFD86F6E652E706E67','5555555555555555555555555555555555555555555555555555555555555555','0.2.0');
INSERT INTO "case_images" VALUES('ffffffffffffffffffffff',2,'two.png','d4c09b249824de4f2fa6a102f3980855ec157fa58fdce3ce6a96b177d2f52c2b','{"target": "malignant", "rule": "mean_std", "parameter": 1.0, "opacity": 0.5, "fixed": false}','{"file": "field.png", "status": "ok", "reason": null, "gate": {"reason": null, "distance": 1.25, "rarer": 0.5, "laboratory": "TCGA"}, "verdict": "benign", "prediction": "benign", "probabilities": {"benign": 0.875, "malignant": 0.125}, "weights": "breast", "weights_sha256": "5555555555555555555555555555555555555555555555555555555555555555", "site": {"name": "Uni-Klinik K\u00f6ln \ud83d\udd2c", "sha256": "6666666666666666666666666666666666666666666666666666666666666666"}, "map": {"values": [[0.1, -2.5e-07], [0.3333333333333333, 0.0]]}}',NULL,X'FFD874776F2E706E67','5555555555555555555555555555555555555555555555555555555555555555','0.2.0');
INSERT INTO "case_images" VALUES('ssssssssssssssssssssss',1,'three.png','96fca3abe0a3ccc5529725fc2874c0da4e5091e7858afc64df803b8d4d9d35b9','{"target": "malignant", "rule": "mean_std", "parameter": 1.0, "opacity": 0.5, "fixed": false}','{"file": "field.png", "status": "ok", "reason": null, "gate": {"reason": null, "distance": 1.25, "rarer": 0.5, "laboratory": "UCSB"}, "verdict": null, "prediction": "malignant", "probabilities": {"benign": 0.09999999999999998, "malignant": 0.9}, "weights": "breast", "weights_sha256": "5555555555555555555555555555555555555555555555555555555555555555", "site": {"name": "Uni-Klinik K\u00f6ln \ud83d\udd2c", "sha256": "6666666666666666666666666666666666666666666666666666666666666666"}, "map": {"values": [[0.1, -2.5e-07], [0.3333333333333333, 0.0]]}}',NULL,X'FFD874687265652E706E67','5555555555555555555555555555555555555555555555555555555555555555','0.2.0');
CREATE TABLE cases (
	id VARCHAR(22) NOT NULL, 
	owner_id TEXT NOT NULL, 
	owner_name TEXT NOT NULL, 
	reader_id TEXT NOT NULL, 
	reader_name TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	changed DATETIME NOT NULL, 
	title TEXT NOT NULL, 
	comment TEXT NOT NULL, 
	read_before TEXT, 
	read_after TEXT, 
	agrees BOOLEAN, 
	diagnosis TEXT, 
	subtype TEXT NOT NULL, 
	patient TEXT, 
	shared BOOLEAN NOT NULL, 
	images INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	probability DOUBLE, 
	laboratory TEXT, 
	call TEXT, 
	words TEXT NOT NULL, 
	CONSTRAINT pk_cases PRIMARY KEY (id)
);
INSERT INTO "cases" VALUES('ffffffffffffffffffffff','idp|anna','Anna Abel','idp|anna','Anna Abel','2026-11-29 15:30:00.250000','2026-11-29 15:30:00.250000','Two ducts 🔬','First line
second','{"call": "benign", "confidence": 0.75}',NULL,0,'malignant','lobular','P-17',1,2,'malignant',0.9,'UCSB','benign','two ducts 🔬 first line
second lobular p-17 anna abel one.png two.png');
INSERT INTO "cases" VALUES('ssssssssssssssssssssss','idp|ben','Ben Brandt','idp|ben','Ben Brandt','2026-11-29 15:30:00.250000','2026-11-29 15:30:00.250000','','',NULL,NULL,NULL,NULL,'',NULL,0,1,'not sure',0.9,'UCSB',NULL,'ben brandt three.png');
CREATE TABLE deck_items (
	deck_id VARCHAR(22) NOT NULL, 
	number INTEGER NOT NULL, 
	sha256 VARCHAR(64), 
	case_id VARCHAR(22), 
	image INTEGER, 
	name TEXT NOT NULL, 
	diagnosis TEXT, 
	subtype TEXT NOT NULL, 
	words TEXT NOT NULL, 
	opinion TEXT, 
	revealed BOOLEAN NOT NULL, 
	CONSTRAINT pk_deck_items PRIMARY KEY (deck_id, number), 
	CONSTRAINT fk_deck_items_deck_id FOREIGN KEY(deck_id) REFERENCES decks (id) ON DELETE CASCADE, 
	CONSTRAINT fk_deck_items_sha256 FOREIGN KEY(sha256) REFERENCES blobs (sha256), 
	CONSTRAINT fk_deck_items_case_id FOREIGN KEY(case_id) REFERENCES cases (id) ON DELETE SET NULL
);
INSERT INTO "deck_items" VALUES('dddddddddddddddddddddd',1,'ae73bf1776175d2c9a3ca7a27354b0130d0f45530817a1e7e5108c72ce4b298a','ffffffffffffffffffffff',1,'a','benign','','','{"file": "field.png", "status": "ok", "reason": null, "gate": {"reason": null, "distance": 1.25, "rarer": 0.5, "laboratory": "UCSB"}, "verdict": "malignant", "prediction": "malignant", "probabilities": {"benign": 0.09999999999999998, "malignant": 0.9}, "weights": "breast", "weights_sha256": "5555555555555555555555555555555555555555555555555555555555555555", "site": {"name": "Uni-Klinik K\u00f6ln \ud83d\udd2c", "sha256": "6666666666666666666666666666666666666666666666666666666666666666"}, "map": {"values": [[0.1, -2.5e-07], [0.3333333333333333, 0.0]]}}',0);
CREATE TABLE deck_readers (
	deck_id VARCHAR(22) NOT NULL, 
	number INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	folded TEXT NOT NULL, 
	secret VARCHAR(64) NOT NULL, 
	joined DATETIME NOT NULL, 
	CONSTRAINT pk_deck_readers PRIMARY KEY (deck_id, number), 
	CONSTRAINT uq_deck_readers_deck_id_folded UNIQUE (deck_id, folded), 
	CONSTRAINT uq_deck_readers_deck_id_secret UNIQUE (deck_id, secret), 
	CONSTRAINT fk_deck_readers_deck_id FOREIGN KEY(deck_id) REFERENCES decks (id) ON DELETE CASCADE
);
INSERT INTO "deck_readers" VALUES('dddddddddddddddddddddd',1,'Seven','seven','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','2026-03-01 12:30:15.123456');
CREATE TABLE deck_reads (
	deck_id VARCHAR(22) NOT NULL, 
	number INTEGER NOT NULL, 
	reader INTEGER NOT NULL, 
	answer TEXT NOT NULL, 
	marks TEXT NOT NULL, 
	at DATETIME NOT NULL, 
	CONSTRAINT pk_deck_reads PRIMARY KEY (deck_id, number, reader), 
	CONSTRAINT fk_deck_reads_deck_id_number FOREIGN KEY(deck_id, number) REFERENCES deck_items (deck_id, number) ON DELETE CASCADE, 
	CONSTRAINT fk_deck_reads_deck_id_reader FOREIGN KEY(deck_id, reader) REFERENCES deck_readers (deck_id, number) ON DELETE CASCADE
);
INSERT INTO "deck_reads" VALUES('dddddddddddddddddddddd',1,1,'benign','[[0.1, 0.5]]','2026-03-01 12:30:15.123456');
CREATE TABLE decks (
	id VARCHAR(22) NOT NULL, 
	owner_id TEXT NOT NULL, 
	owner_name TEXT NOT NULL, 
	title TEXT NOT NULL, 
	seed INTEGER NOT NULL, 
	shared BOOLEAN NOT NULL, 
	anonymous BOOLEAN NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	created DATETIME NOT NULL, 
	CONSTRAINT pk_decks PRIMARY KEY (id)
);
INSERT INTO "decks" VALUES('dddddddddddddddddddddd','idp|tess','','T',7,1,0,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','2026-03-01 12:30:15.123456');
CREATE TABLE people (
	id TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	email TEXT NOT NULL, 
	role TEXT NOT NULL, 
	CONSTRAINT pk_people PRIMARY KEY (id)
);
INSERT INTO "people" VALUES('idp|anna','anna','anna@example.org','reader');
CREATE TABLE tokens (
	id VARCHAR(22) NOT NULL, 
	person_id TEXT NOT NULL, 
	person_name TEXT NOT NULL, 
	role TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	label TEXT NOT NULL, 
	created DATETIME NOT NULL, 
	expires DATETIME, 
	used DATETIME, 
	revoked DATETIME, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT uq_tokens_sha256 UNIQUE (sha256)
);
INSERT INTO "tokens" VALUES('t','idp|anna','A','reader','eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee','QuPath','2026-03-01 12:30:15.123456',NULL,NULL,NULL);
CREATE INDEX ix_cases_owner_id ON cases (owner_id);
CREATE INDEX ix_cases_reader_id ON cases (reader_id);
CREATE INDEX ix_cases_created ON cases (created);
CREATE INDEX ix_cases_answer ON cases (answer);
CREATE INDEX ix_case_images_sha256 ON case_images (sha256);
CREATE INDEX ix_audit_case_id_who_what ON audit (case_id, who, what);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE INDEX ix_tokens_person_id ON tokens (person_id);
CREATE INDEX ix_decks_owner_id ON decks (owner_id);
CREATE INDEX ix_deck_items_sha256 ON deck_items (sha256);
CREATE INDEX ix_deck_items_case_id ON deck_items (case_id);
COMMIT;
