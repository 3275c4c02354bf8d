//! Parquet: every column optional, packed with Zstandard, in groups of rows.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::{Columns, Type};

/// Rows that are gathered before they are written: some tens of megabytes.
const GROUP_ROWS: usize = 100_000;

/// The values of one column that are not written yet.
enum Cells {
    Text(Vec<ByteArray>),
    Int(Vec<i64>),
    Value(Vec<f64>),
}

struct Column {
    cells: Cells,
    /// 1 where there is a value, 0 where it is absent.
    levels: Vec<i16>,
}

/// A Parquet file that grows.
pub(super) struct Parquet {
    writer: SerializedFileWriter<File>,
    columns: Vec<Column>,
    /// The column that the next field belongs to.
    at: usize,
    failed: Option<io::Error>,
}

impl Parquet {
    pub(super) fn create(path: &Path, columns: Columns) -> io::Result<Parquet> {
        let mut schema = String::from("message tickwire {");
        for (name, of) in columns {
            let line = match of {
                Type::Text => format!("OPTIONAL BYTE_ARRAY {name} (STRING);"),
                Type::Int => format!("OPTIONAL INT64 {name};"),
                Type::Price => format!("OPTIONAL INT64 {name} (DECIMAL(18,9));"),
                Type::Size => format!("OPTIONAL INT64 {name} (DECIMAL(18,8));"),
                Type::Value => format!("OPTIONAL DOUBLE {name};"),
            };
            // Writing to memory cannot fail.
            let _ = write!(schema, " {line}");
        }
        schema.push_str(" }");
        let schema = parse_message_type(&schema).map_err(to_io)?;
        let level = ZstdLevel::try_new(3).map_err(to_io)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let file = File::create(path)?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(to_io)?;
        let column = |of: Type| Column {
            cells: match of {
                Type::Text => Cells::Text(Vec::new()),
                Type::Int | Type::Price | Type::Size => Cells::Int(Vec::new()),
                Type::Value => Cells::Value(Vec::new()),
            },
            levels: Vec::new(),
        };
        let columns = columns.iter().map(|(_, of)| column(*of)).collect();
        Ok(Parquet { writer, columns, at: 0, failed: None })
    }

    /// The cells of the next column, which gets a value or none.
    fn next(&mut self, there: bool) -> &mut Cells {
        let column = &mut self.columns[self.at];
        self.at += 1;
        column.levels.push(i16::from(there));
        &mut column.cells
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        // The quotes that keep a CSV row together are not part of the text.
        let text = text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(text);
        if let (Cells::Text(cells), false) = (self.next(!text.is_empty()), text.is_empty()) {
            cells.push(ByteArray::from(text.to_vec()));
        }
    }

    pub(super) fn int(&mut self, value: i64) {
        self.whole(Some(value));
    }

    pub(super) fn price(&mut self, e9: Option<i64>) {
        self.whole(e9);
    }

    pub(super) fn size(&mut self, e8: Option<u64>) {
        if e8.is_some_and(|e8| i64::try_from(e8).is_err()) {
            self.failed = Some(io::Error::other("a size of more than 92233720368 does not fit DECIMAL(18,8)"));
        }
        self.whole(e8.and_then(|e8| i64::try_from(e8).ok()));
    }

    fn whole(&mut self, value: Option<i64>) {
        if let (Cells::Int(cells), Some(value)) = (self.next(value.is_some()), value) {
            cells.push(value);
        }
    }

    pub(super) fn value(&mut self, value: Option<f64>) {
        if let (Cells::Value(cells), Some(value)) = (self.next(value.is_some()), value) {
            cells.push(value);
        }
    }

    pub(super) fn end_row(&mut self) {
        self.at = 0;
        if self.columns.first().is_some_and(|column| column.levels.len() >= GROUP_ROWS)
            && let Err(error) = self.write_group()
        {
            self.failed = self.failed.take().or(Some(to_io(error)));
        }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            write_column(&mut writer, column)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Tells what went wrong; groups are written as they fill.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        if self.columns.first().is_some_and(|column| !column.levels.is_empty()) {
            self.write_group().map_err(to_io)?;
        }
        self.writer.close().map_err(to_io)?;
        Ok(())
    }
}

fn write_column(writer: &mut SerializedColumnWriter<'_>, column: &mut Column) -> Result<(), ParquetError> {
    let levels = Some(column.levels.as_slice());
    match &mut column.cells {
        Cells::Text(cells) => {
            writer.typed::<ByteArrayType>().write_batch(cells, levels, None)?;
            cells.clear();
        }
        Cells::Int(cells) => {
            writer.typed::<Int64Type>().write_batch(cells, levels, None)?;
            cells.clear();
        }
        Cells::Value(cells) => {
            writer.typed::<DoubleType>().write_batch(cells, levels, None)?;
            cells.clear();
        }
    }
    column.levels.clear();
    Ok(())
}

fn to_io(error: ParquetError) -> io::Error {
    io::Error::other(error.to_string())
}
