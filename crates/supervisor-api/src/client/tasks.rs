//! Tasks of a peer.

use async_trait::async_trait;
use gantry_supervisor_core::task::{
    AttachStreams, Attachment, CreateTask, ExecTask, Exit, Pid, Process, Tasks,
};
use gantry_supervisor_core::{Any, Error, Kind, Result};

use super::{Bound, call};
use crate::convert::{any, from_any, list, process, required, time};
use crate::proto::containerd::services::tasks::v1 as api;
use crate::proto::containerd::services::tasks::v1::tasks_client::TasksClient;
use crate::proto::gantry::services::attach::v1::EndpointRequest;
use crate::proto::gantry::services::attach::v1::attach_client::AttachClient;

#[async_trait]
impl Tasks for Bound {
    async fn create(&self, request: CreateTask) -> Result<u32> {
        let request = api::CreateTaskRequest {
            container_id: request.container_id,
            rootfs: list(request.rootfs),
            stdin: request.stdio.stdin,
            stdout: request.stdio.stdout,
            stderr: request.stdio.stderr,
            terminal: request.stdio.terminal,
            options: request.options.map(any),
            ..api::CreateTaskRequest::default()
        };
        Ok(call!(self, TasksClient, create(request))?.pid)
    }

    async fn start(&self, id: &str, exec_id: &str) -> Result<u32> {
        let request = api::StartRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        Ok(call!(self, TasksClient, start(request))?.pid)
    }

    async fn delete(&self, id: &str) -> Result<Exit> {
        let answer = call!(
            self,
            TasksClient,
            delete(api::DeleteTaskRequest {
                container_id: id.to_owned()
            })
        )?;
        Ok(Exit {
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: time(answer.exited_at),
        })
    }

    async fn delete_process(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let request = api::DeleteProcessRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        let answer = call!(self, TasksClient, delete_process(request))?;
        Ok(Exit {
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: time(answer.exited_at),
        })
    }

    async fn get(&self, id: &str, exec_id: &str) -> Result<Process> {
        let request = api::GetRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        Ok(process(
            required(call!(self, TasksClient, get(request))?.process, "process")?,
            id,
        ))
    }

    async fn list(&self) -> Result<Vec<Process>> {
        let answer = call!(self, TasksClient, list(api::ListTasksRequest::default()))?;
        Ok(answer.tasks.into_iter().map(|task| process(task, "")).collect())
    }

    async fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let request = api::KillRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            signal,
            all,
        };
        call!(self, TasksClient, kill(request))
    }

    async fn exec(&self, request: ExecTask) -> Result<()> {
        let request = api::ExecProcessRequest {
            container_id: request.container_id,
            stdin: request.stdio.stdin,
            stdout: request.stdio.stdout,
            stderr: request.stdio.stderr,
            terminal: request.stdio.terminal,
            spec: Some(any(request.spec)),
            exec_id: request.exec_id,
        };
        call!(self, TasksClient, exec(request))
    }

    async fn resize_pty(&self, id: &str, exec_id: &str, width: u32, height: u32) -> Result<()> {
        let request = api::ResizePtyRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            width,
            height,
        };
        call!(self, TasksClient, resize_pty(request))
    }

    async fn close_io(&self, id: &str, exec_id: &str) -> Result<()> {
        let request = api::CloseIoRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            stdin: true,
        };
        call!(self, TasksClient, close_io(request))
    }

    async fn pause(&self, id: &str) -> Result<()> {
        call!(
            self,
            TasksClient,
            pause(api::PauseTaskRequest {
                container_id: id.to_owned()
            })
        )
    }

    async fn resume(&self, id: &str) -> Result<()> {
        call!(
            self,
            TasksClient,
            resume(api::ResumeTaskRequest {
                container_id: id.to_owned()
            })
        )
    }

    async fn pids(&self, id: &str) -> Result<Vec<Pid>> {
        let answer = call!(
            self,
            TasksClient,
            list_pids(api::ListPidsRequest {
                container_id: id.to_owned()
            })
        )?;
        let all = answer.processes.into_iter().map(|process| Pid {
            pid: process.pid,
            details: process.info.map(from_any),
        });
        Ok(all.collect())
    }

    async fn update(&self, id: &str, resources: Any) -> Result<()> {
        let request = api::UpdateTaskRequest {
            container_id: id.to_owned(),
            resources: Some(any(resources)),
            ..api::UpdateTaskRequest::default()
        };
        call!(self, TasksClient, update(request))
    }

    async fn metrics(&self, id: &str) -> Result<Any> {
        let answer = call!(
            self,
            TasksClient,
            metrics(api::MetricsRequest {
                filters: vec![format!("id=={id}")]
            })
        )?;
        let metric = answer.metrics.into_iter().next();
        let data = metric.and_then(|metric| metric.data);
        data.map(from_any)
            .ok_or_else(|| Error::not_found(format!("no metrics of task {id}: not found")))
    }

    async fn wait(&self, id: &str, exec_id: &str) -> Result<Exit> {
        let request = api::WaitRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        let answer = call!(self, TasksClient, wait(request))?;
        // The answer does not name the process; who has not asked before does so now, best effort.
        let pid = Tasks::get(self, id, exec_id)
            .await
            .map(|process| process.pid)
            .unwrap_or_default();
        Ok(Exit {
            pid,
            exit_status: answer.exit_status,
            exited_at: time(answer.exited_at),
        })
    }

    async fn attach(&self, id: &str, exec_id: &str, streams: AttachStreams) -> Result<Attachment> {
        let path = self.attach_endpoint(id, exec_id).await?;
        crate::attach::connect(&path, exec_id, streams).await
    }

    async fn attach_endpoint(&self, id: &str, exec_id: &str) -> Result<String> {
        let request = EndpointRequest {
            container_id: id.to_owned(),
            exec_id: exec_id.to_owned(),
        };
        match call!(self, AttachClient, endpoint(request)) {
            Ok(answer) => Ok(answer.path),
            Err(error) if error.kind() == Kind::NotImplemented => {
                // The shim was asked to say itself where it is.
                if let Some(at) = &self.attach {
                    let link = at.0.join(id).join(at.1);
                    if link.exists()
                        && let Some(link) = link.to_str()
                    {
                        return Ok(link.to_owned());
                    }
                }
                Err(error.context(format!(
                    "task {id} cannot be attached to: the supervisor does not offer it"
                )))
            }
            Err(error) => Err(error),
        }
    }
}
