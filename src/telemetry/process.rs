//! What the process takes of the machine: the metrics that all exporters of Prometheus have. Linux tells them.

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

#[derive(Debug)]
pub struct Process;

impl Collector for Process {
    #[cfg(target_os = "linux")]
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        linux::encode(encoder)
    }

    #[cfg(not(target_os = "linux"))]
    fn encode(&self, _: DescriptorEncoder<'_>) -> std::fmt::Result {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use procfs::{ProcResult, WithCurrentSystemInfo as _, process::Process};
    use prometheus_client::{
        encoding::{DescriptorEncoder, EncodeMetric},
        metrics::{counter::ConstCounter, gauge::ConstGauge},
    };

    /// What there is to tell.
    struct Taken {
        cpu_seconds: f64,
        resident: u64,
        virtual_memory: u64,
        open_files: u64,
        max_files: Option<u64>,
        threads: i64,
        start: f64,
    }

    impl Taken {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970, and since the start, are below 2^53")]
        fn read() -> ProcResult<Self> {
            let process = Process::myself()?;
            let status = process.stat()?;
            let ticks = procfs::ticks_per_second() as f64;
            let start = procfs::boot_time_secs()? as f64 + status.starttime as f64 / ticks;
            Ok(Self {
                cpu_seconds: (status.utime + status.stime) as f64 / ticks,
                resident: status.rss_bytes().get(),
                virtual_memory: status.vsize,
                open_files: process.fd_count()? as u64,
                max_files: match process.limits()?.max_open_files.soft_limit {
                    procfs::process::LimitValue::Value(files) => Some(files),
                    procfs::process::LimitValue::Unlimited => None,
                },
                threads: status.num_threads,
                start,
            })
        }
    }

    pub fn encode(mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        // Without `/proc` there is nothing to tell.
        let Ok(taken) = Taken::read() else { return Ok(()) };
        let mut metric = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        metric("process_cpu_seconds", "CPU time.", &ConstCounter::new(taken.cpu_seconds))?;
        metric("process_resident_memory_bytes", "Resident memory.", &ConstGauge::new(taken.resident))?;
        metric("process_virtual_memory_bytes", "Virtual memory.", &ConstGauge::new(taken.virtual_memory))?;
        metric("process_open_fds", "Open files and sockets.", &ConstGauge::new(taken.open_files))?;
        if let Some(max) = taken.max_files {
            metric("process_max_fds", "Open files and sockets, at most.", &ConstGauge::new(max))?;
        }
        metric("process_threads", "Threads.", &ConstGauge::new(taken.threads))?;
        metric("process_start_time_seconds", "Start, in seconds since 1970.", &ConstGauge::new(taken.start))
    }
}
