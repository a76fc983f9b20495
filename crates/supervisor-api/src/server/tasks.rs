//! The service of tasks.

use futures_util::future::join_all;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::task::{CreateTask, ExecTask, Stdio};
use gantry_supervisor_core::{Kind, Time};
use tonic::{Request, Response, Status};

use super::{Api, unimplemented};
use crate::convert::{any, from_any, list, required, timestamp, to_status};
use crate::proto::containerd::services::tasks::v1 as api;
use crate::proto::containerd::types::Metric;
use crate::proto::containerd::v1::types::ProcessInfo;

#[tonic::async_trait]
impl api::tasks_server::Tasks for Api {
    async fn create(
        &self,
        request: Request<api::CreateTaskRequest>,
    ) -> Result<Response<api::CreateTaskResponse>, Status> {
        let services = self.services(&request)?;
        let r = request.into_inner();
        if r.checkpoint.is_some() {
            return Err(unimplemented("creating a task from a checkpoint"));
        }
        if !r.task_api_address.is_empty() {
            return Err(unimplemented("creating a task in a sandbox"));
        }
        if !r.runtime_path.is_empty() {
            return Err(unimplemented(
                "creating a task with another runtime than its container's",
            ));
        }
        let create = CreateTask {
            container_id: r.container_id.clone(),
            rootfs: list(r.rootfs),
            stdio: Stdio {
                stdin: r.stdin,
                stdout: r.stdout,
                stderr: r.stderr,
                terminal: r.terminal,
            },
            options: r.options.map(from_any),
        };
        let pid = services.tasks.create(create).await.map_err(to_status)?;
        Ok(Response::new(api::CreateTaskResponse {
            container_id: r.container_id,
            pid,
        }))
    }

    async fn start(
        &self,
        request: Request<api::StartRequest>,
    ) -> Result<Response<api::StartResponse>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        let pid = services
            .tasks
            .start(&r.container_id, &r.exec_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::StartResponse { pid }))
    }

    async fn delete(
        &self,
        request: Request<api::DeleteTaskRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let services = self.services(&request)?;
        let id = request.into_inner().container_id;
        let exit = services.tasks.delete(&id).await.map_err(to_status)?;
        Ok(Response::new(api::DeleteResponse {
            id,
            pid: exit.pid,
            exit_status: exit.exit_status,
            exited_at: timestamp(exit.exited_at),
        }))
    }

    async fn delete_process(
        &self,
        request: Request<api::DeleteProcessRequest>,
    ) -> Result<Response<api::DeleteResponse>, Status> {
        let services = self.services(&request)?;
        let r = request.into_inner();
        let exit = services
            .tasks
            .delete_process(&r.container_id, &r.exec_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::DeleteResponse {
            id: r.exec_id,
            pid: exit.pid,
            exit_status: exit.exit_status,
            exited_at: timestamp(exit.exited_at),
        }))
    }

    async fn get(&self, request: Request<api::GetRequest>) -> Result<Response<api::GetResponse>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        let process = services
            .tasks
            .get(&r.container_id, &r.exec_id)
            .await
            .map_err(to_status)?;
        Ok(Response::new(api::GetResponse {
            process: Some(process.into()),
        }))
    }

    async fn list(
        &self,
        request: Request<api::ListTasksRequest>,
    ) -> Result<Response<api::ListTasksResponse>, Status> {
        let services = self.services(&request)?;
        let tasks = services.tasks.list().await.map_err(to_status)?;
        Ok(Response::new(api::ListTasksResponse { tasks: list(tasks) }))
    }

    async fn kill(&self, request: Request<api::KillRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        let done = services
            .tasks
            .kill(&r.container_id, &r.exec_id, r.signal, r.all)
            .await;
        done.map_err(to_status).map(Response::new)
    }

    async fn exec(&self, request: Request<api::ExecProcessRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let r = request.into_inner();
        let spec = required(r.spec, "spec").map_err(to_status)?;
        let exec = ExecTask {
            container_id: r.container_id,
            exec_id: r.exec_id,
            stdio: Stdio {
                stdin: r.stdin,
                stdout: r.stdout,
                stderr: r.stderr,
                terminal: r.terminal,
            },
            spec: from_any(spec),
        };
        services
            .tasks
            .exec(exec)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn resize_pty(&self, request: Request<api::ResizePtyRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        let done = services
            .tasks
            .resize_pty(&r.container_id, &r.exec_id, r.width, r.height)
            .await;
        done.map_err(to_status).map(Response::new)
    }

    async fn close_io(&self, request: Request<api::CloseIoRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        services
            .tasks
            .close_io(&r.container_id, &r.exec_id)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn pause(&self, request: Request<api::PauseTaskRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .tasks
            .pause(&request.get_ref().container_id)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn resume(&self, request: Request<api::ResumeTaskRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        services
            .tasks
            .resume(&request.get_ref().container_id)
            .await
            .map_err(to_status)
            .map(Response::new)
    }

    async fn list_pids(
        &self,
        request: Request<api::ListPidsRequest>,
    ) -> Result<Response<api::ListPidsResponse>, Status> {
        let services = self.services(&request)?;
        let pids = services
            .tasks
            .pids(&request.get_ref().container_id)
            .await
            .map_err(to_status)?;
        let processes = pids
            .into_iter()
            .map(|process| ProcessInfo {
                pid: process.pid,
                info: process.details.map(any),
            })
            .collect();
        Ok(Response::new(api::ListPidsResponse { processes }))
    }

    async fn checkpoint(
        &self,
        _: Request<api::CheckpointTaskRequest>,
    ) -> Result<Response<api::CheckpointTaskResponse>, Status> {
        Err(unimplemented("checkpoint"))
    }

    async fn update(&self, request: Request<api::UpdateTaskRequest>) -> Result<Response<()>, Status> {
        let services = self.services(&request)?;
        let r = request.into_inner();
        let resources = required(r.resources, "resources").map_err(to_status)?;
        let done = services.tasks.update(&r.container_id, from_any(resources)).await;
        done.map_err(to_status).map(Response::new)
    }

    async fn metrics(
        &self,
        request: Request<api::MetricsRequest>,
    ) -> Result<Response<api::MetricsResponse>, Status> {
        let services = self.services(&request)?;
        let filters = Filters::parse(&request.get_ref().filters).map_err(to_status)?;
        let mut ids = services.tasks.ids().await.map_err(to_status)?;
        // Only those that are wanted are asked, and all at once: one whose shim hangs does not hold up the others.
        ids.retain(|id| {
            filters.matches(&|path: &[String]| match path.first().map(String::as_str) {
                Some("id") => Some(id.clone()),
                Some("namespace") => Some(services.namespace.clone()),
                _ => None,
            })
        });
        let asked = join_all(ids.iter().map(|id| services.tasks.metrics(id))).await;
        let mut metrics = Vec::new();
        for (id, answer) in ids.into_iter().zip(asked) {
            match answer {
                Ok(data) => metrics.push(Metric {
                    timestamp: timestamp(Time::now()),
                    id,
                    data: Some(any(data)),
                }),
                // One that cannot be asked does not hide the others.
                Err(error) if error.kind() == Kind::NotFound => {}
                Err(error) => tracing::warn!(id, "failed to read metrics: {}", error.chain()),
            }
        }
        Ok(Response::new(api::MetricsResponse { metrics }))
    }

    async fn wait(&self, request: Request<api::WaitRequest>) -> Result<Response<api::WaitResponse>, Status> {
        let services = self.services(&request)?;
        let r = request.get_ref();
        let exit = services
            .tasks
            .wait(&r.container_id, &r.exec_id)
            .await
            .map_err(to_status)?;
        let exited_at = timestamp(exit.exited_at);
        Ok(Response::new(api::WaitResponse {
            exit_status: exit.exit_status,
            exited_at,
        }))
    }
}
