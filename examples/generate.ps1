<#
.SYNOPSIS
A picture to a mesh file, with Windows PowerShell 5.1 or PowerShell 7.

.EXAMPLE
./examples/generate.ps1 chair.png chair.stl -Fields @{ quality = "high"; height_mm = 80 }

.EXAMPLE
./examples/generate.ps1 -Front chair.png -Left chair-left.png -Mesh chair.stl
#>
param(
    # A file (PNG, JPEG, WebP, AVIF) or a URL.
    [string] $Picture,
    # The file that is written.
    [string] $Mesh = "mesh.stl",
    # Several views of one object, in place of one picture: for models that take them.
    [string] $Front,
    [string] $Left,
    [string] $Back,
    [string] $Right,
    # More fields of the request.
    [hashtable] $Fields = @{},
    # Where AI Engine listens.
    [string] $Engine = "http://127.0.0.1:8000",
    # Where it asks for keys.
    [string] $ApiKey = $env:ENGINE_API_KEY,
    [int] $WithinSeconds = 1800
)
$ErrorActionPreference = "Stop"
$ProgressPreference = "SilentlyContinue" # a progress bar makes 5.1 download ten times slower
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12 # 5.1 begins lower

function Get-PictureUrl([string] $Path) {
    if ($Path -match "^https?:") { return $Path }
    $file = (Resolve-Path -LiteralPath $Path).ProviderPath
    $kind = [IO.Path]::GetExtension($file).TrimStart(".").ToLowerInvariant() -replace '^jpg$', 'jpeg'
    return "data:image/$kind;base64," + [Convert]::ToBase64String([IO.File]::ReadAllBytes($file))
}

$headers = @{}
if ($ApiKey) { $headers["Authorization"] = "Bearer $ApiKey" }
$request = @{
    session_id = "powershell"
    asset_id = [IO.Path]::GetFileName($Mesh) -replace '[^A-Za-z0-9._-]', '-'
}
foreach ($name in $Fields.Keys) { $request[$name] = $Fields[$name] }
$views = [ordered] @{ front = $Front; left = $Left; back = $Back; right = $Right }
$members = @()
foreach ($view in $views.Keys) {
    if ($views[$view]) { $members += '"' + $view + '":"' + (Get-PictureUrl $views[$view]) + '"' }
}
if ([bool] $Picture -eq ($members.Count -gt 0)) { throw "give a picture, or views of one object: -Front, -Left, ..." }
$pictures = '"image_urls":{' + ($members -join ",") + '}'
if ($Picture) { $pictures = '"image_url":"' + (Get-PictureUrl $Picture) + '"' }
# The picture comes after ConvertTo-Json, which in 5.1 may refuse a text of some megabytes; nothing in it needs escaping.
$body = ($request | ConvertTo-Json -Compress).TrimEnd("}") + "," + $pictures + "}"

try {
    $accepted = Invoke-RestMethod -Method Post -Uri "$Engine/generate-3d" -Headers $headers `
        -ContentType "application/json" -Body $body
} catch {
    if ($_.ErrorDetails) { throw "refused: $($_.ErrorDetails.Message)" }
    throw
}

$deadline = (Get-Date).AddSeconds($WithinSeconds)
do {
    if ((Get-Date) -gt $deadline) { throw "not done after $WithinSeconds s; job $($accepted.job_id) goes on" }
    Start-Sleep -Seconds 1
    $job = Invoke-RestMethod -Uri ($Engine + $accepted.status_url) -Headers $headers
    Write-Host "$($job.status) $($job.stage) $($job.progress)"
} while (@("queued", "running") -contains $job.status)
if ($job.status -ne "succeeded") { throw "$($job.status): $($job.error.detail) $($job.error.code)" }

# What is there under the mesh's name has passed.
$part = "$Mesh.part"
Invoke-WebRequest -UseBasicParsing -Uri ($Engine + $accepted.status_url + "/mesh") -Headers $headers -OutFile $part
if ((Get-FileHash -LiteralPath $part -Algorithm SHA256).Hash -ne $job.artifact.sha256) {
    throw "the file is damaged: $part"
}
Move-Item -LiteralPath $part -Destination $Mesh -Force
$Mesh
