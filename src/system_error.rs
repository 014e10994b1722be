//! What the system says, as signs of the table of failures.

use rustix::io::Errno;
use std::io::{self, ErrorKind};

/// The names of error numbers that the table knows.
const NAMES: &[(Errno, &str)] = &[
    (Errno::NOSPC, "ENOSPC"),
    (Errno::DQUOT, "EDQUOT"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::IO, "EIO"),
    (Errno::STALE, "ESTALE"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::BUSY, "EBUSY"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::INTR, "EINTR"),
    (Errno::REMOTEIO, "EREMOTEIO"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::ROFS, "EROFS"),
    (Errno::NOENT, "ENOENT"),
    (Errno::UCLEAN, "EUCLEAN"),
    (Errno::BADMSG, "EBADMSG"),
    (Errno::ACCESS, "EACCES"),
    (Errno::PERM, "EPERM"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NXIO, "ENXIO"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::EXIST, "EEXIST"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::INVAL, "EINVAL"),
    (Errno::FBIG, "EFBIG"),
    (Errno::LOOP, "ELOOP"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::NOSYS, "ENOSYS"),
    (Errno::NOTTY, "ENOTTY"),
    (Errno::XDEV, "EXDEV"),
    (Errno::MLINK, "EMLINK"),
    (Errno::NOLCK, "ENOLCK"),
];

/// The sign of an error: the name of its number, or of the number that its kind stands for. Empty if there is none.
pub fn sign(error: &io::Error) -> &'static str {
    let by_number = error
        .raw_os_error()
        .and_then(|raw| NAMES.iter().find(|(errno, _)| errno.raw_os_error() == raw))
        .map(|(_, name)| *name);
    by_number.unwrap_or(match error.kind() {
        ErrorKind::StorageFull => "ENOSPC",
        ErrorKind::QuotaExceeded => "EDQUOT",
        ErrorKind::OutOfMemory => "ENOMEM",
        ErrorKind::TimedOut => "ETIMEDOUT",
        ErrorKind::ReadOnlyFilesystem => "EROFS",
        ErrorKind::PermissionDenied => "EACCES",
        ErrorKind::NotFound => "ENOENT",
        ErrorKind::IsADirectory => "EISDIR",
        ErrorKind::NotADirectory => "ENOTDIR",
        ErrorKind::AlreadyExists => "EEXIST",
        ErrorKind::InvalidFilename => "ENAMETOOLONG",
        ErrorKind::InvalidInput => "EINVAL",
        ErrorKind::FileTooLarge => "EFBIG",
        ErrorKind::Unsupported => "EOPNOTSUPP",
        // A file that ends before its end.
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData => "EBADMSG",
        _ => "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_store_statecharts::failure::{Class, Port};

    #[test]
    fn every_number_of_the_table_has_its_name_here() {
        for (port, number, class) in [
            (Port::Spool, libc::ENOSPC, Class::NoSpace),
            (Port::Spool, libc::EDQUOT, Class::NoSpace),
            (Port::Spool, libc::EMFILE, Class::TooManyFiles),
            (Port::Spool, libc::EROFS, Class::ReadOnly),
            (Port::Spool, libc::ENOENT, Class::Lost),
            (Port::Store, libc::ENOENT, Class::Absent),
            (Port::Store, libc::ESTALE, Class::Io),
            (Port::Store, libc::EIO, Class::Io),
            (Port::Store, libc::EACCES, Class::Forbidden),
            (Port::Mirrors, libc::EISDIR, Class::Refused),
            (Port::Mirrors, libc::ENOLCK, Class::Unsupported),
        ] {
            let sign = sign(&io::Error::from_raw_os_error(number));
            assert_eq!(Class::of_signs(port, [sign]), class, "{sign}");
        }
    }
}
