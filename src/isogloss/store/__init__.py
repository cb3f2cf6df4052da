"""The only package that knows file names: study folders, digests, atomic writes, step markers, locks.

A *step* is one unit of work with a name (``concepts/mbert/encoder/ward-k600-s0/layer_06/en``), a
key (the digest of its own parameters, its inputs' digests and its version) and output files.  Its
marker, ``.steps/NAME.json``, is written after the outputs, so a kill at any moment leaves either
a finished step or none.
"""

from isogloss.store.arrays import Rows, RowWriter, array_files, closing, open_array
from isogloss.store.claims import claim
from isogloss.store.files import (
    atomic,
    digest,
    file_digest,
    folder_in_one_piece,
    folder_name,
    lock_holder,
    locked,
    make_folder,
    read_csv,
    read_json,
    read_lines,
    read_table,
    read_text,
    remove_folder,
    sweep,
    table_digest,
    temporary_folder,
    write_csv,
    write_json,
    write_table,
    write_text,
    write_with_csv,
)
from isogloss.store.layout import (
    LABEL_TABLES,
    MOVEMENT_TABLES,
    StudyLayout,
    layer_file,
    n_subwords_file,
    partial_folder,
    progress_file,
    row_numbers_file,
    sentence_folder,
    shared_file,
    state_files,
)
from isogloss.store.markers import CORPUS, Markers, read_marker
from isogloss.store.names import inside
from isogloss.store.remote import Remote

__all__ = [
    "CORPUS",
    "LABEL_TABLES",
    "MOVEMENT_TABLES",
    "Markers",
    "Remote",
    "RowWriter",
    "Rows",
    "StudyLayout",
    "array_files",
    "atomic",
    "claim",
    "closing",
    "digest",
    "file_digest",
    "folder_in_one_piece",
    "folder_name",
    "inside",
    "layer_file",
    "lock_holder",
    "locked",
    "make_folder",
    "n_subwords_file",
    "open_array",
    "partial_folder",
    "progress_file",
    "read_csv",
    "read_json",
    "read_lines",
    "read_marker",
    "read_table",
    "read_text",
    "remove_folder",
    "row_numbers_file",
    "sentence_folder",
    "shared_file",
    "state_files",
    "sweep",
    "table_digest",
    "temporary_folder",
    "write_csv",
    "write_json",
    "write_table",
    "write_text",
    "write_with_csv",
]
